// rope_table FOLDER LENGTH...: prints [{length, inv_freq, attention_factor}] as JSON for the scheme `model` of the
// folder's config.json, which is all that is read.  For the peer tests.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <string>

#include "config/registry.h"
#include "model/llama_config.h"
#include "rope/scheme.h"

namespace qroar {
namespace {

void run(const char* folder, const std::vector<std::string>& lengths) {
  const LlamaConfig llama = LlamaConfig::load(folder);
  const auto scheme = Registry<RopeScheme>::instance().build(Config::parse("{type: model}", "rope"));
  for (const std::string& warning : llama.warnings) spdlog::warn("{}", warning);
  Json tables = Json::array();
  for (const std::string& text : lengths) {
    const int64_t length = std::stoll(text);
    const RopeTable table = scheme->table(llama.rope_geometry(length), length);
    tables.push_back({{"length", length}, {"inv_freq", table.inv_freq}, {"attention_factor", table.attention_factor}});
  }
  std::puts(tables.dump().c_str());
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("rope_table"));
  try {
    if (argc < 3) qroar::fail("usage: rope_table FOLDER LENGTH...");
    qroar::run(argv[1], {argv + 2, argv + argc});
    return 0;
  } catch (const qroar::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
