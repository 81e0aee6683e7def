// imported.json beside a good config.json: what import scripts write of a quantized checkpoint, and tables show.
#include "fuzz.h"
#include "model/llama_config.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  scratch().write("config.json", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
      "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 8})");
  scratch().write("imported.json", std::string(input));
  const Json imported = LlamaConfig::load(scratch().folder()).imported;
  must(imported.is_object(), "a record is an object");
  if (!imported.contains("label") && !imported.contains("bits_per_weight")) return;
  must(imported["label"].is_string() && !imported["label"].get<std::string>().empty(), "a label");
  const double bits = imported["bits_per_weight"].get<double>();
  must(bits >= 0 && bits <= 64, fmt::format("{} bits", bits));
}

}  // namespace qroar
