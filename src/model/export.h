// A model as it is evaluated, rescaled and fake-quantized, as a folder for other programs.
#pragma once
#include <filesystem>

#include "config/config.h"
#include "model/llama.h"
#include "rope/scheme.h"

namespace qroar {

/// The file that tells an exported folder from the user's own.
inline constexpr const char* kExportMarker = "qroar_export.json";

/// Writes a folder that Hugging Face transformers loads as LlamaForCausalLM and that computes what
/// `model` computes:
///   model.safetensors   the weights in their dtype; lm_head is left out where it still is the embeddings' tensor
///   config.json         that of `source`, with dtype, tying, max_position_embeddings = max(trained_length, length) and
///                       RoPE changed.  A table other than plain RoPE is said as rope_type longrope with
///                       short_factor = long_factor = theta^(-2i/d) / inv_freq_i, [d/2]: exact for any static table up
///                       to transformers' float32 frequencies, whatever the scheme.
///   tokenizer files and generation_config.json of `source`, as they are
///   qroar_export.json   source, lengths, `provenance` and the names of the files written
/// The table is taken for every length: whether that holds (a dynamic scheme, LongRoPE's two lists, rope_dtype:
/// bfloat16) is the caller's to check.
/// An Error, before anything is written: activations that are quantized or rotated as the model runs, since those live
/// outside of the weights; a `folder` that holds anything but an earlier export, which is replaced.  An Error later on
/// (disk full, no permission) leaves `folder` as it was.
void export_model(const Llama& model, const RopeTable& table, int64_t trained_length, int64_t length,
                  const std::filesystem::path& source, const std::filesystem::path& folder,
                  const Json& provenance = Json::object());

}  // namespace qroar
