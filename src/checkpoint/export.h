// Exports a model as it is evaluated, rescaled and fake-quantized, to a folder for other programs.
#pragma once
#include <filesystem>
#include <set>
#include <string>

#include "checkpoint/packed.h"
#include "model/llama.h"
#include "rope/exported.h"

namespace qroar {

/// The file that distinguishes an exported folder from a folder of the user.
inline constexpr const char* kExportMarker = "qroar_export.json";

/// Returns the absolute path with links resolved and no trailing slash, whose parent is that of the actual folder.
std::filesystem::path export_target(const std::filesystem::path& folder);

/// Returns the names of the files that an earlier export wrote according to its marker; none without a readable marker.
std::set<std::string> files_of_export(const std::filesystem::path& folder);

/// Throws an Error where the folder contains anything but an earlier export, which would be replaced.
void check_replaceable(const std::filesystem::path& folder);

/// Writes a folder that Hugging Face transformers loads as a model of the family and that computes what `model`
/// computes, which must not transform activations:
///   model.safetensors   the weights in their dtype; lm_head is omitted where it is still the embeddings' tensor
///   config.json         that of `source`, with dtype, tying, and RoPE as defined by rope/exported.h
///   tokenizer files and generation_config.json of `source`, unchanged
///   qroar_export.json   source, lengths, `provenance` and the names of the files written
///   imported.json       `imported`, which LlamaConfig::imported describes, unless null
/// Where `grids` name layers, their weights are 4-bit codes (checkpoint/packed.h) and config.json says so.
/// Throws an Error before anything is written for a folder that must not be replaced and for a weight off its grid.  A
/// later Error (disk full, no permission) leaves `folder` unchanged.
void export_model(const Llama& model, const EvaluatedRope& rope, const std::filesystem::path& source,
                  const std::filesystem::path& folder, const Json& provenance = Json::object(),
                  const PackedGrids& grids = {}, const Json& imported = nullptr);

}  // namespace qroar
