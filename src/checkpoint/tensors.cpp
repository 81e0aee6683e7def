#include "checkpoint/tensors.h"

#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "config/config.h"

namespace qroar {
namespace {

const std::pair<Dtype, at::ScalarType> kTypes[] = {
    {Dtype::f32, at::kFloat}, {Dtype::bf16, at::kBFloat16}, {Dtype::f16, at::kHalf}, {Dtype::f64, at::kDouble}};

/// Those of codes and shapes, which are written and not read.
const std::pair<Dtype, at::ScalarType> kWholeNumbers[] = {{Dtype::i32, at::kInt}, {Dtype::i64, at::kLong}};

std::string_view name_of(at::ScalarType dtype) {
  for (const auto& [ours, theirs] : kWholeNumbers) {
    if (theirs == dtype) return dtype_name(ours);
  }
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == dtype) return dtype_name(ours);
  }
  fail("tensors of dtype {} are not written to safetensors", at::toString(dtype));
}

}  // namespace

at::ScalarType floating_type(Dtype dtype, const std::string& place) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == dtype) return theirs;
  }
  fail(
      "{} has dtype {}, expected BF16, F16, F32 or F64; a quantized checkpoint needs scripts/import_checkpoint FOLDER "
      "OUT",
      place, dtype_name(dtype));
}

at::Tensor tensor_of(const TensorView& view, const std::string& place) {
  const auto options = at::TensorOptions().dtype(floating_type(view.dtype, place));
  if (!view.aligned) {
    at::Tensor copy = at::empty(view.shape, options);
    std::memcpy(copy.mutable_data_ptr(), view.data, static_cast<std::size_t>(view.bytes));
    return copy;
  }
  // The mapping is private: at::from_blob takes a mutable pointer, and nothing writes through it.
  return at::from_blob(
      const_cast<std::byte*>(view.data), view.shape, [owner = view.owner](void*) {}, options);
}

void write_tensors(const std::filesystem::path& path, const TensorMap& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};  // transformers 4 rejects files without this
  std::size_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = end;
    end += tensor.nbytes();
    header[name] = {
        {"dtype", name_of(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // keeps every tensor aligned
  const uint64_t length = text.size();
  write_file_atomically(path, [&](const PutBytes& put) {
    put({reinterpret_cast<const char*>(&length), sizeof length});
    put(text);
    for (const auto& [name, tensor] : tensors) {
      const at::Tensor here = tensor.to(at::kCPU).contiguous();
      put({static_cast<const char*>(here.const_data_ptr()), here.nbytes()});
    }
  });
}

TensorMap read_tensors(const std::filesystem::path& path, const at::Device& device) {
  TensorMap tensors;
  const SafetensorsFile file(path);
  for (const auto& [name, view] : file.tensors()) {
    tensors[name] = tensor_of(view, fmt::format("{}: tensor {}", path.string(), name)).to(device);
  }
  return tensors;
}

}  // namespace qroar
