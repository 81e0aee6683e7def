// YAML text as one tree, written as YAML and read again.
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const Config config = block_of(std::string(input));
  const Json json = config.json();
  must(json.is_object(), "a map at the top");
  const std::string yaml = to_yaml(json);
  Json again;
  must(!refuses([&] { again = Config::parse(yaml, "again.yaml").json(); }), "what is written is read: " + yaml);
  must(again == json, "the same configuration: " + yaml);
  config.resolved();
  must(refuses([&] { check_all_read(config); }) == !json.empty(), "keys that nothing read are refused");
  for (const auto& [key, value] : json.items()) {
    const Config child = config.at(key);
    must_be_one_line(child.where());
    refuses([&] { child.as<int64_t>(); });
    refuses([&] { child.as<double>(); });
    refuses([&] { child.as<std::vector<std::string>>(); });
    refuses([&] { child.as_file(); });
  }
}

}  // namespace qroar
