// Headers of model.safetensors.  An input that begins with { is a header alone, to which its length and 64 bytes of
// tensors are added; any other input is the whole file.
#include <bit>

#include "base/hash.h"
#include "checkpoint/safetensors.h"
#include "fuzz.h"

namespace qroar {
namespace {

std::string with_length(const std::string& header) {
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  return length + header + std::string(64, '\x5a');
}

}  // namespace

void fuzz_one(std::string_view input) {
  const std::string bytes = input.starts_with('{') ? with_length(std::string(input)) : std::string(input);
  const SafetensorsFile file(scratch().write("model.safetensors", bytes));
  const std::byte *first = nullptr, *end = nullptr;
  unsigned touched = 0;
  for (const auto& [name, view] : file.tensors()) {
    int64_t size = dtype_bytes(view.dtype);
    for (const int64_t extent : view.shape) size *= extent;
    must(size == view.bytes, name + ": its bytes are not its shape");
    must(view.aligned == (std::bit_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(dtype_bytes(view.dtype)) == 0),
         name + ": aligned is wrong");
    if (view.bytes == 0) continue;
    touched += std::to_integer<unsigned>(view.data[0]) + std::to_integer<unsigned>(view.data[view.bytes - 1]);
    if (first == nullptr || view.data < first) first = view.data;
    if (end == nullptr || view.data + view.bytes > end) end = view.data + view.bytes;
  }
  must(end - first <= std::ssize(bytes) - 8, "tensors lie outside the file");
  must(touched <= 2 * 255 * file.tensors().size(), "bytes of tensors");
  must(file.hash() == hash_bytes(bytes), "the file's hash");
  file.check_unchanged();
}

}  // namespace qroar
