// A checkpoint's tensors over its files: one, or shards that an index lists.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "config/config.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code unreadable;
  return fs::exists(path, unreadable);
}

/// Reads the map tensor -> shard of an index.  A shard must be a plain file name, so that no index refers to files
/// outside its folder.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const std::string file = path.string();
  const Json json = read_json_object(path);
  const auto weight_map = json.find("weight_map");
  if (weight_map == json.end() || !weight_map->is_object()) fail("{}: no object weight_map", file);
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : weight_map->items()) {
    const std::string text = shard.is_string() ? shard.get<std::string>() : "";
    const auto forbidden = [](unsigned char c) { return c == '/' || c < ' '; };
    if (text.empty() || text == "." || text == ".." || std::ranges::any_of(text, forbidden)) {
      fail("{}: weight_map gives tensor {} the shard {}, which is no file name in this folder", file, excerpt(name),
           excerpt(shard));
    }
    shards.emplace(name, text);
  }
  return shards;
}

}  // namespace

SafetensorsCheckpoint open_safetensors(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  SafetensorsCheckpoint checkpoint;
  checkpoint.folder_ = folder;
  if (is_there(single)) {
    checkpoint.tensors_ = checkpoint.files_.emplace_back(single).tensors();
    return checkpoint;
  }
  if (!is_there(index)) {
    fail(
        "{}: holds neither model.safetensors nor model.safetensors.index.json; convert PyTorch .bin files with "
        "scripts/import_checkpoint, .gguf files with scripts/import_gguf.py",
        folder.string());
  }
  checkpoint.add_shards(index);
  return checkpoint;
}

void SafetensorsCheckpoint::add_shards(const fs::path& index) {
  const std::map<std::string, std::string> shard_of = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    for (const auto& [name, view] : files_.emplace_back(folder_ / shard).tensors()) {
      if (!tensors_.emplace(name, view).second) {
        fail("{}: tensor {} is also in another shard", (folder_ / shard).string(), excerpt(name));
      }
      const auto listed = shard_of.find(name);
      if ((listed == shard_of.end() || listed->second != shard) && !is_derived_tensor(name)) {
        fail("{}: tensor {} is in {} but weight_map does not say so", index.string(), excerpt(name), shard);
      }
    }
  }
  for (const auto& [name, shard] : shard_of) {
    if (!has(name) && !is_derived_tensor(name))
      fail("{}: weight_map says {} is in {}, but it is not", index.string(), excerpt(name), shard);
  }
}

const TensorView& SafetensorsCheckpoint::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  const std::string near = nearest(name, names());
  fail("{}: the checkpoint has no tensor {}{}", folder_.string(), excerpt(name),
       near.empty() ? "" : fmt::format("; did you mean {}?", excerpt(near)));
}

std::vector<std::string> SafetensorsCheckpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : tensors_) names.push_back(name);
  return names;
}

void SafetensorsCheckpoint::check_unchanged() const {
  for (const SafetensorsFile& file : files_) file.check_unchanged();
}

std::string SafetensorsCheckpoint::hash() const {
  if (files_.size() == 1) return files_[0].hash();
  std::string hashes;
  for (const SafetensorsFile& file : files_) hashes += file.hash();
  return hash_bytes(hashes);
}

}  // namespace qroar
