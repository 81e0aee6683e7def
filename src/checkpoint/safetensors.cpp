#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian and are used in place");

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr DtypeRow kDtypes[] = {
    {Dtype::f64, "F64", 8}, {Dtype::f32, "F32", 4},      {Dtype::f16, "F16", 2}, {Dtype::bf16, "BF16", 2},
    {Dtype::i64, "I64", 8}, {Dtype::i32, "I32", 4},      {Dtype::i16, "I16", 2}, {Dtype::i8, "I8", 1},
    {Dtype::u8, "U8", 1},   {Dtype::boolean, "BOOL", 1},
};

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit

/// Which tensor an error is about; its text is made when there is one, as a header has tens of thousands of tensors.
struct Place {
  const std::string &file, &tensor;
  std::string text() const { return fmt::format("{}: tensor {}", file, excerpt(tensor)); }
};

/// Reads a list of integers from 0 to 2^63 - 1.
std::vector<int64_t> naturals(const Json& entry, const char* key, const Place& place) {
  const auto list = entry.find(key);
  if (list == entry.end() || !list->is_array()) fail("{}: no list {}", place.text(), key);
  std::vector<int64_t> numbers;
  for (const Json& number : *list) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() > INT64_MAX) {
      fail("{}: {} holds {}, not an integer from 0 to 2^63 - 1", place.text(), key, excerpt(number));
    }
    numbers.push_back(number.get<int64_t>());
  }
  return numbers;
}

const DtypeRow& read_dtype(const Json& entry, const Place& place) {
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) fail("{}: no dtype", place.text());
  const auto row = std::ranges::find(kDtypes, dtype->get_ref<const std::string&>(), &DtypeRow::name);
  if (row != std::end(kDtypes)) return *row;
  std::string known;
  for (const DtypeRow& each : kDtypes) known += fmt::format(" {}", each.name);
  fail("{}: unknown dtype {}; known are{}", place.text(), excerpt(*dtype), known);
}

/// A header entry whose offsets are not yet resolved to a place in the file.
struct Entry {
  std::string name;
  TensorView view;
  int64_t begin = 0;
  int64_t end = 0;
};

Entry read_entry(const std::string& name, const Json& json, const std::string& file) {
  const Place place{file, name};
  if (!json.is_object()) fail("{}: is a JSON {}, not an object", place.text(), json.type_name());
  const DtypeRow& dtype = read_dtype(json, place);
  Entry entry;
  entry.name = name;
  entry.view.dtype = dtype.dtype;
  entry.view.shape = naturals(json, "shape", place);
  entry.view.bytes = dtype.bytes;
  for (const int64_t size : entry.view.shape) {
    if (__builtin_mul_overflow(entry.view.bytes, size, &entry.view.bytes)) {
      fail("{}: shape {} overflows 64 bits", place.text(), excerpt(json["shape"]));
    }
  }
  const std::vector<int64_t> offsets = naturals(json, "data_offsets", place);
  if (offsets.size() != 2) fail("{}: data_offsets has {} numbers, not 2", place.text(), offsets.size());
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.begin > entry.end) fail("{}: data_offsets [{}, {}] run backwards", place.text(), entry.begin, entry.end);
  if (entry.end - entry.begin != entry.view.bytes) {
    fail("{}: shape {} of {} needs {} bytes, data_offsets [{}, {}] give {}", place.text(), excerpt(json["shape"]),
         dtype.name, entry.view.bytes, entry.begin, entry.end, entry.end - entry.begin);
  }
  return entry;
}

/// Throws an Error unless the tensors cover the data completely, as the format requires: no holes, no overlaps, nothing
/// after the last tensor.
void check_coverage(std::vector<Entry>& entries, int64_t data_bytes, const std::string& file) {
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  int64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != covered) {
      fail("{}: tensor {} begins at {} but the one before it ends at {}: {} in the data", file, excerpt(entry.name),
           entry.begin, covered, entry.begin < covered ? "an overlap" : "a hole");
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    fail("{}: file has {} bytes of tensors, its header says {}: {}", file, data_bytes, covered,
         covered > data_bytes ? "truncated download?" : "bytes that belong to no tensor; download it again");
  }
}

}  // namespace

std::string_view dtype_name(Dtype dtype) { return std::ranges::find(kDtypes, dtype, &DtypeRow::dtype)->name; }
int64_t dtype_bytes(Dtype dtype) { return std::ranges::find(kDtypes, dtype, &DtypeRow::dtype)->bytes; }

bool is_derived_tensor(const std::string& name) {
  constexpr std::string_view kDerived[] = {"rotary_emb.inv_freq",   "rotary_emb.original_inv_freq",
                                           "rotary_emb.cos_cached", "rotary_emb.sin_cached",
                                           "causal_mask",           "attn.masked_bias"};
  return std::ranges::any_of(kDerived, [&](std::string_view end) { return name.ends_with(end); });
}

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(std::make_shared<const MappedFile>(path)) {
  const std::string file = path.string();
  const std::string_view bytes = file_->bytes();
  if (bytes.size() < kLengthBytes)
    fail("{}: is {} bytes, too short for safetensors: truncated download?", file, bytes.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    fail("{}: header of {} bytes, at most {} are read; not a safetensors file?", file, header_bytes, kMaxHeaderBytes);
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    fail("{}: file is {} bytes, its first 8 say that the header alone is {}: truncated download?", file, bytes.size(),
         header_bytes);
  }
  const std::string_view data = bytes.substr(kLengthBytes + header_bytes);
  std::vector<Entry> entries;
  const Json header = parse_json_object(bytes.substr(kLengthBytes, header_bytes), {file + ": header"});
  for (const auto& [name, json] : header.items()) {
    if (name != "__metadata__") entries.push_back(read_entry(name, json, file));
  }
  check_coverage(entries, std::ssize(data), file);
  for (Entry& entry : entries) {
    entry.view.data = reinterpret_cast<const std::byte*>(data.data()) + entry.begin;
    entry.view.aligned = reinterpret_cast<uintptr_t>(entry.view.data) % dtype_bytes(entry.view.dtype) == 0;
    entry.view.owner = file_;
    tensors_.emplace(std::move(entry.name), std::move(entry.view));
  }
}

std::string SafetensorsFile::hash() const { return file_->hash(); }
void SafetensorsFile::check_unchanged() const { file_->check_unchanged(); }
std::filesystem::path SafetensorsFile::path() const { return file_->path(); }

}  // namespace qroar
