// window_losses SETUP < LINES: of every line, a JSON list of token ids, the losses -ln p (nats) of all but its first,
// as a JSON list, by the model of a YAML text with the blocks model and rope.  For tests/peers/test_protocols.py, which
// makes protocols' numbers of them.
#include <ATen/ATen.h>

#include <cstdio>
#include <iostream>

#include "checkpoint/checkpoint.h"
#include "config/registry.h"
#include "eval/token_losses.h"
#include "model/angles.h"

namespace qroar {
namespace {

void run(const char* setup) {
  const c10::InferenceMode inference;
  const Config config = Config::parse(setup, "SETUP");
  const ModelSpec spec(config.at("model"), LlamaConfig::load(model_folder(config.at("model"))));
  const Checkpoint checkpoint(spec.path);
  const LlamaConfig& llama = checkpoint.config();
  const Llama model = checkpoint.build(spec.dtype, at::kCPU);
  const auto scheme = Registry<RopeScheme>::instance().build(config.at("rope"));
  check_all_read(config);
  for (std::string line; std::getline(std::cin, line);) {
    const auto ids = Json::parse(line).get<std::vector<int64_t>>();
    const int64_t length = std::ssize(ids);
    const RopeTable table = scheme->table(llama.rope_geometry(length), length);
    const auto losses =
        token_losses(model, at::tensor(ids, at::kLong), rope_angles(table, length, spec.dtype, at::kCPU, false), 0);
    std::puts(Json(losses).dump().c_str());
  }
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  try {
    if (argc != 2) qroar::fail("usage: window_losses SETUP < LINES");
    qroar::run(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "window_losses: %s\n", error.what());
    return 1;
  }
}
