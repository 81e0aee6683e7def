// An experiment: a.yaml, b.yaml and c.yaml, which may include each other, and overrides as of --set, cut at 0x01.
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const auto parts = parts_of(input, 5);
  const auto file = scratch().write("a.yaml", parts[0]);
  scratch().write("b.yaml", parts[1]);
  scratch().write("c.yaml", parts[2]);
  std::vector<std::string> overrides;
  for (const std::string& text : {parts[3], parts[4]}) {
    if (!text.empty()) overrides.push_back(text);
  }
  const Config plain = Config::load(file);
  must(!plain.has("include"), "includes are taken out");
  const ConfigSources sources = sources_of(file);
  must(!sources.files.empty() && sources.files.front() == file, "the experiment's own file comes first");
  for (const auto& list : {sources.files, sources.beside}) {
    for (const auto& path : list) must(std::filesystem::exists(path), path.string());
  }
  const Config config = Config::load(file, overrides);
  must(overrides.size() > 0 || config.json() == plain.json(), "without overrides it is the file");
  must(Config::load(file, overrides).json() == config.json(), "the same twice");
}

}  // namespace qroar
