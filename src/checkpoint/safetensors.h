// Safetensors checkpoints (huggingface.co/docs/safetensors), mapped read-only into memory, without torch.
// The files are untrusted input: every length, offset, shape and name of the header is checked before anything points
// into the file.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace qroar {

enum class Dtype { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// Returns the name that the header uses, such as "BF16".
std::string_view dtype_name(Dtype dtype);
int64_t dtype_bytes(Dtype dtype);

/// One tensor in its file, row-major.
struct TensorView {
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
  int64_t bytes = 0;
  bool aligned = true;                ///< `data` is aligned to the dtype's size; else copy before use
  std::shared_ptr<const void> owner;  ///< keeps the mapping alive for tensors that point into it
};

class MappedFile;

/// Returns whether a tensor of that name only contains what a model computes itself, such as RoPE's frequencies or a
/// causal mask, which old files include.
bool is_derived_tensor(const std::string& name);

/// One .safetensors file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  /// Returns the XXH3 hash of the file, the same as hash_file().
  std::string hash() const;
  /// Throws an Error once another process has changed the file or a part of it could not be read.
  void check_unchanged() const;
  std::filesystem::path path() const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, TensorView> tensors_;
};

/// All tensors of a model folder.
class SafetensorsCheckpoint {
 public:
  /// Returns the tensor.  Throws an Error that suggests a similar name when it is missing.
  const TensorView& at(const std::string& name) const;
  bool has(const std::string& name) const { return tensors_.contains(name); }
  std::vector<std::string> names() const;
  /// Returns the hash of the contents of all files.
  std::string hash() const;
  /// Throws an Error that names a file which another process has changed since it was opened.
  void check_unchanged() const;

 private:
  friend SafetensorsCheckpoint open_safetensors(const std::filesystem::path& folder);
  void add_shards(const std::filesystem::path& index);
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, TensorView> tensors_;
};

/// Opens FOLDER/model.safetensors, else the shards that FOLDER/model.safetensors.index.json names; index and shards may
/// disagree about the tensors for which is_derived_tensor() is true.
SafetensorsCheckpoint open_safetensors(const std::filesystem::path& folder);

}  // namespace qroar
