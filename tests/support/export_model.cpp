// export_model SETUP TOKENS.safetensors FOLDER: exports the model of a YAML text, which has the blocks model, rope and
// quant of an experiment and
//   spread: 0.2      q_proj's and k_proj's rows of pair i are scaled by 1 + spread * i / (d/2)
//   still_pairs: 4   so many last pairs do not turn: their frequencies are 0
//   lengths: [T]     see below
// and prints [{nll, inv_freq, attention_factor}] as JSON, by length: the mean NLL of so many first `tokens` (int64 [T])
// by the same weights in float32.  For the peer tests.
#include <ATen/ATen.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>

#include "checkpoint/checkpoint.h"
#include "checkpoint/export.h"
#include "config/registry.h"
#include "model/angles.h"
#include "quant/plan.h"

namespace qroar {
namespace {

at::Tensor read_tokens(const char* path) {
  const SafetensorsFile file(path);
  const TensorView& view = file.tensors().at("tokens");
  if (view.dtype != Dtype::i64 || view.shape.size() != 1) fail("{}: 'tokens' is no list of int64", path);
  return at::from_blob(const_cast<std::byte*>(view.data), view.shape, at::kLong).clone();
}

void spread_rows(Llama& model, double spread) {
  const int64_t pairs = model.config.head_dim / 2;
  const at::Tensor scale_P1 = (1 + spread * at::arange(pairs, at::kDouble) / pairs).unsqueeze(1);
  for (DecoderLayer& layer : model.layers) {
    for (Linear* linear : {&layer.q_proj, &layer.k_proj}) {
      const at::Tensor& weight_OI = linear->weight_OI;
      const at::Tensor scaled = weight_OI.to(at::kDouble).view({-1, 2, pairs, weight_OI.size(1)}) * scale_P1;
      linear->weight_OI = scaled.view(weight_OI.sizes()).to(weight_OI.scalar_type());
    }
  }
}

Llama in_float32(Llama model) {
  const auto widen = [](at::Tensor& x) { x = x.to(at::kFloat); };
  widen(model.embed_tokens_VD);
  widen(model.norm_D);
  for (DecoderLayer& layer : model.layers) {
    widen(layer.input_norm_D);
    widen(layer.post_attention_norm_D);
  }
  model.each_linear([&](Linear& linear) { widen(linear.weight_OI); });
  return model;
}

double mean_nll(const Llama& model, const RopeTable& table, const at::Tensor& tokens_T) {
  const int64_t last = tokens_T.size(0) - 1;
  const auto angles = rope_angles(table, last, at::kFloat, at::kCPU, false);
  const at::Tensor logits_TV = logits(model, forward(model, tokens_T.slice(0, 0, last), angles));
  return ops::token_nll(logits_TV, tokens_T.slice(0, 1)).to(at::kDouble).mean().item<double>();
}

void run(const char* setup, const char* tokens_file, const char* folder) {
  const c10::InferenceMode inference;
  const Config config = Config::parse(setup, "SETUP");
  const ModelSpec spec(config.at("model"), LlamaConfig::load(model_folder(config.at("model"))));
  const Checkpoint checkpoint(spec.path);
  const LlamaConfig& llama = checkpoint.config();
  Llama full = checkpoint.build(spec.dtype, at::kCPU);
  spread_rows(full, config.get<double>("spread", 0));
  const QuantPlan plan(config, llama);
  const Llama model = apply(plan, prepare(plan, full), {});

  const at::Tensor tokens_T = read_tokens(tokens_file);
  const RopeGeometry geometry = llama.rope_geometry(tokens_T.size(0));
  const auto scheme = Registry<RopeScheme>::instance().build(config.at("rope"));
  const auto still = config.get<int64_t>("still_pairs", 0, {0, llama.head_dim / 2});
  const auto lengths = config.get<std::vector<int64_t>>("lengths", {tokens_T.size(0)});
  check_all_read(config);
  const auto table_of = [&](int64_t length) {
    RopeTable table = scheme->table(geometry, length);
    std::fill(table.inv_freq.end() - still, table.inv_freq.end(), 0.0);
    return table;
  };

  export_model(model, {*scheme, geometry, llama.trained_length, table_of}, spec.path, folder);
  Json report = Json::array();
  for (const int64_t length : lengths) {
    const RopeTable table = table_of(length);
    report.push_back({{"nll", mean_nll(in_float32(model), table, tokens_T.slice(0, 0, length))},
                      {"inv_freq", table.inv_freq},
                      {"attention_factor", table.attention_factor}});
  }
  std::puts(report.dump().c_str());
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("export_model"));
  try {
    if (argc != 4) qroar::fail("usage: export_model SETUP TOKENS.safetensors FOLDER");
    qroar::run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "export_model: %s\n", error.what());
    return 1;
  }
}
