// model.safetensors.index.json beside the shards a.safetensors with the tensor "a" and b.safetensors with "b".
#include <set>

#include "checkpoint/safetensors.h"
#include "fuzz.h"

namespace qroar {
namespace {

void write_shard(const std::string& name) {
  const std::string header = R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  scratch().write(name + ".safetensors", static_cast<char>(header.size()) + std::string(7, '\0') + header + "12345678");
}

}  // namespace

void fuzz_one(std::string_view input) {
  static const bool kWritten = (write_shard("a"), write_shard("b"), true);
  scratch().write("model.safetensors.index.json", std::string(input));
  const SafetensorsCheckpoint checkpoint = open_safetensors(scratch().folder());
  for (const std::string& name : checkpoint.names()) {
    must(kWritten && (name == "a" || name == "b"), "a tensor that no shard has: " + name);
    must(checkpoint.has(name) && checkpoint.at(name).bytes == 8, name);
  }
  must(refuses([&] { checkpoint.at("c"); }), "a tensor that does not exist");
  checkpoint.check_unchanged();
  must(checkpoint.hash().size() == 32, checkpoint.hash());
}

}  // namespace qroar
