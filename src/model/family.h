// The interface of a model family: how the config.json and the tensors of one model_type describe the model of
// model/llama.h.  A family is one file in model/families, which registers itself, and is read as transformers 5.17
// reads it (its configuration and modeling files of that name).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/registry.h"
#include "model/config_fields.h"
#include "model/llama_config.h"

namespace qroar {

/// Adjacent rows of a stored tensor that are the rows of a linear layer.
struct StoredRows {
  std::string name;  ///< of the stored module: "self_attn.qkv_proj"
  int64_t first = 0, count = 0;
  int64_t of = 0;  ///< rows of the stored tensor
};

class Family {
 public:
  static constexpr const char* kKind = "model family";
  virtual ~Family() = default;

  /// Adds to the object of a config.json what the family's readers take for absent keys where Llama's take another
  /// value, and rewrites what only this family writes so.
  virtual void complete(Json& /*json*/) const {}
  /// Reads the family's own keys into a config whose other fields, `layers` among them, are complete.
  virtual void read(const ConfigFields& fields, LlamaConfig& config) const = 0;
  /// Returns the keys that read() and complete() read, which a model of another family may not have.
  virtual std::vector<std::string_view> keys() const { return {}; }
  /// Returns whether the family's readers take a rope_type; they always take "longrope".
  virtual bool takes_rope_type(std::string_view /*type*/) const { return true; }
  /// Returns where a linear layer is stored that is not a tensor of its own; `name` in its layer: "self_attn.q_proj".
  virtual std::optional<StoredRows> stored_in(const LlamaConfig& /*config*/, std::string_view /*name*/) const {
    return std::nullopt;
  }
};

/// The key of a config.json, and of its RoPE parameters, that a family names among its own where it may not be 1.
inline constexpr std::string_view kPartialRotary = "partial_rotary_factor";

/// Returns the family of a model_type, or null where it is not known.
std::unique_ptr<Family> family_of(const std::string& model_type);

/// Sets a window for the layers that `layer_types` calls sliding_attention, for those from `first` on where there is no
/// such list; none where `window` is empty, with which such a list must agree.
void read_layer_types(const ConfigFields& fields, std::optional<int64_t> window, int64_t first, LlamaConfig& config);
/// Returns sliding_window, or nothing where it is null.
std::optional<int64_t> sliding_window(const ConfigFields& fields);
/// Returns sliding_window, or nothing where it is null or use_sliding_window, false where absent, says so.
std::optional<int64_t> used_sliding_window(const ConfigFields& fields);
/// Sets the window of Qwen2 and Qwen3: where it is used, in layer_types or from max_window_layers on.
void read_qwen_windows(const ConfigFields& fields, LlamaConfig& config);
/// Sets sliding_window in every layer, none where it is null.
void read_window_of_all(const ConfigFields& fields, LlamaConfig& config);
/// Reads `attention_bias`, of q, k, v and o, and `mlp_bias`.
void read_biases(const ConfigFields& fields, LlamaConfig& config);

}  // namespace qroar
