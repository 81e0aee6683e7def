// A model as it is evaluated, rescaled and fake-quantized, as a folder for other programs.
#pragma once
#include <filesystem>

#include "model/llama.h"
#include "rope/exported.h"

namespace qroar {

/// The file that tells an exported folder from the user's own.
inline constexpr const char* kExportMarker = "qroar_export.json";

/// Absolute, through links, without a slash at its end: what stands beside it is beside its contents.
std::filesystem::path export_target(const std::filesystem::path& folder);

/// An Error where the folder holds anything but an earlier export, which would be replaced.
void refuse_foreign(const std::filesystem::path& folder);

/// Writes a folder that Hugging Face transformers loads as LlamaForCausalLM and that computes what
/// `model` computes, which does nothing to activations as it runs:
///   model.safetensors   the weights in their dtype; lm_head is left out where it still is the embeddings' tensor
///   config.json         that of `source`, with dtype, tying, and RoPE as rope/exported.h says it
///   tokenizer files and generation_config.json of `source`, as they are
///   qroar_export.json   source, lengths, `provenance` and the names of the files written
/// An Error before anything is written for a folder that is not ours to replace.  An Error later on (disk full, no
/// permission) leaves `folder` as it was.
void export_model(const Llama& model, const EvaluatedRope& rope, const std::filesystem::path& source,
                  const std::filesystem::path& folder, const Json& provenance = Json::object());

}  // namespace qroar
