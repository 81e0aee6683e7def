#include "run/reference.h"

#include "base/error.h"
#include "config/registry.h"
#include "data/tokenizer.h"

namespace qroar {

ReferenceSpec::ReferenceSpec(const Config& block, const ModelSpec& model, const LlamaConfig& evaluated_llama,
                             const Config& evaluated, int64_t window)
    : CheckpointSpec(block),
      llama(LlamaConfig::load(path)),
      dtype(weight_dtype(block, dtype_text(model.dtype), path, llama, model.device)) {
  const Config place = block.at("path");
  if (llama.vocab_size != evaluated_llama.vocab_size) {
    place.fail(
        fmt::format("a vocabulary of {} tokens, and the model's has {}; next-token distributions compare over one",
                    llama.vocab_size, evaluated_llama.vocab_size));
  }
  if (tokenizer_hash(path) != tokenizer_hash(model.path)) {
    place.fail(
        "its tokenizer file is not the model's; where both say the same, put a copy of the model's in a folder beside "
        "links to the other files and name that");
  }
  const bool has_own = block.has("rope");
  const Config scheme = has_own ? block.at("rope") : evaluated;
  if (!has_own && scheme.get<std::string>("type") == "model" && llama.rope != evaluated_llama.rope) {
    block.fail("the scheme is what config.json says, and its config.json says another one than the model's; give rope");
  }
  rope = Registry<RopeScheme>::instance().build(scheme);
  geometry = llama.rope_geometry(window);
  try {
    table(window);
  } catch (const Error& error) {
    scheme.fail(fmt::format("for the reference: {}", error.what()));
  }
}

}  // namespace qroar
