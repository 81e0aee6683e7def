#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <cstring>
#include <random>

#include "base/files.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

const std::filesystem::path kTinyBooks = std::filesystem::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books";

/// The 8 bytes of length, the header and so many bytes 0, 1, 2 ... of data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  bytes += header;
  for (std::size_t i = 0; i < data_bytes; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

/// The header of one tensor "a" of 2 x 3 F16, with one part of it replaced.
std::string header_with(const std::string& dtype = "\"F16\"", const std::string& shape = "[2, 3]",
                        const std::string& offsets = "[0, 12]") {
  return "{\"a\": {\"dtype\": " + dtype + ", \"shape\": " + shape + ", \"data_offsets\": " + offsets + "}}";
}

std::string error_for(const std::string& bytes) {
  const Scratch scratch;
  const auto path = scratch.write("model.safetensors", bytes);
  const std::string error = error_text([&] { open_safetensors(scratch.folder()); });
  CHECK(contains(error, path.string()));
  return error;
}

/// The bytes of all tensors; reads some of each, so that an address outside the file is seen.
int64_t bytes_of_tensors(const SafetensorsFile& file) {
  constexpr int64_t kPage = 4096;
  int64_t bytes = 0;
  uint64_t sum = 0;
  for (const auto& [name, view] : file.tensors()) {
    for (int64_t i = 0; i < view.bytes; i += kPage) sum += static_cast<uint64_t>(view.data[i]);
    if (view.bytes > 0) sum += static_cast<uint64_t>(view.data[view.bytes - 1]);
    bytes += view.bytes;
  }
  CHECK(sum < UINT64_MAX);
  return bytes;
}

TEST_CASE("tensors of a file written byte by byte have their dtype, shape and bytes") {
  const Scratch scratch;
  const std::string header =
      "{\"__metadata__\": {\"format\": \"pt\"}, \"b\": {\"dtype\": \"F32\", \"shape\": [], \"data_offsets\": [13, 17]},"
      "\"m\": {\"dtype\": \"BF16\", \"shape\": [2, 3], \"data_offsets\": [0, 12]},"
      "\"none\": {\"dtype\": \"I64\", \"shape\": [0, 5], \"data_offsets\": [13, 13]},"
      "\"t\": {\"dtype\": \"BOOL\", \"shape\": [1], \"data_offsets\": [12, 13]}}  ";
  const auto path = scratch.write("model.safetensors", file_of(header + std::string(header.size() % 2, ' '), 17));
  const SafetensorsCheckpoint checkpoint = open_safetensors(scratch.folder());
  CHECK(checkpoint.names() == std::vector<std::string>{"b", "m", "none", "t"});
  const TensorView& m = checkpoint.at("m");
  CHECK(m.dtype == Dtype::bf16);
  CHECK(m.shape == std::vector<int64_t>{2, 3});
  CHECK(m.bytes == 12);
  CHECK(m.aligned);
  CHECK(static_cast<int>(m.data[11]) == 11);
  const TensorView& b = checkpoint.at("b");
  CHECK(b.shape.empty());
  CHECK(b.bytes == 4);
  CHECK_FALSE(b.aligned);
  CHECK(static_cast<int>(b.data[0]) == 13);
  CHECK(checkpoint.at("none").bytes == 0);
  CHECK(checkpoint.has("t"));
  CHECK_FALSE(checkpoint.has("u"));
  CHECK(checkpoint.hash() == hash_file(path));
  CHECK(dtype_name(Dtype::bf16) == "BF16");
  CHECK(dtype_bytes(Dtype::boolean) == 1);
}

TEST_CASE("the hash of a checkpoint is that of its file, or of all of its shards") {
  const auto hash_with = [](std::size_t first_bytes, std::size_t last_bytes) {
    const Scratch scratch;
    scratch.write("model.safetensors.index.json", R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})");
    const auto shard = [](const std::string& name, std::size_t bytes) {
      return file_of(
          fmt::format(R"({{"{}": {{"dtype": "U8", "shape": [{}], "data_offsets": [0, {}]}}}})", name, bytes, bytes),
          bytes);
    };
    scratch.write("1.safetensors", shard("a", first_bytes));
    scratch.write("2.safetensors", shard("b", last_bytes));
    return open_safetensors(scratch.folder()).hash();
  };
  CHECK(hash_with(4, 6) == hash_with(4, 6));
  CHECK(hash_with(4, 6) != hash_with(5, 6));
  CHECK(hash_with(4, 6) != hash_with(4, 5));
  const Scratch scratch;
  const auto single = scratch.write("model.safetensors", file_of(header_with(), 12));
  CHECK(open_safetensors(scratch.folder()).hash() == hash_file(single));
}

TEST_CASE("a view keeps the mapping alive after its checkpoint is gone") {
  TensorView view;
  {
    const Scratch scratch;
    scratch.write("model.safetensors", file_of(header_with(), 12));
    view = open_safetensors(scratch.folder()).at("a");
  }
  CHECK(static_cast<int>(view.data[11]) == 11);
}

TEST_CASE("tiny-books has its 47 tensors, and a wrong name is answered with a near one") {
  const SafetensorsCheckpoint checkpoint = open_safetensors(kTinyBooks);
  CHECK(checkpoint.names().size() == 47);
  const TensorView& embedding = checkpoint.at("model.embed_tokens.weight");
  CHECK(embedding.dtype == Dtype::bf16);
  CHECK(embedding.shape == std::vector<int64_t>{4096, 256});
  CHECK(error_text([&] { checkpoint.at("model.embed_token.weight"); }) ==
        kTinyBooks.string() +
            ": the checkpoint has no tensor \"model.embed_token.weight\"; did you mean "
            "\"model.embed_tokens.weight\"?");
}

TEST_CASE("a file that is cut off says how long it is and should be") {
  CHECK(contains(error_for(""), "is 0 bytes, too short"));
  CHECK(contains(error_for("1234567"), "is 7 bytes, too short"));
  CHECK(contains(error_for(file_of(header_with(), 12).substr(0, 40)),
                 "file is 40 bytes, its first 8 say that the header alone is"));
  CHECK(contains(error_for(file_of(header_with(), 11)),
                 "file has 11 bytes of tensors, its header says 12: truncated download?"));
  CHECK(contains(error_for(file_of(header_with(), 13)),
                 "file has 13 bytes of tensors, its header says 12: bytes that belong"));
  CHECK(contains(error_for(std::string(8, '\xff') + "{}"), "header of 18446744073709551615 bytes, at most 100000000"));
}

TEST_CASE("a header that lies is an Error that names the tensor") {
  const auto tensor_error = [](const std::string& header) {
    const std::string error = error_for(file_of(header, 12));
    CHECK(contains(error, "tensor \"a\""));
    return error;
  };
  CHECK(contains(tensor_error(header_with("\"F12\"")), "unknown dtype \"F12\"; known are F64 F32"));
  CHECK(contains(tensor_error(header_with("7")), "no dtype"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "6")), "no list shape"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[-2, -3]")), "shape holds -2, not an integer from 0"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[2.0, 3]")), "shape holds 2.0"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[18446744073709551615]")), "shape holds 18446744073709551615"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[4294967296, 4294967296]")), "overflows 64 bits"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[4611686018427387904, 1]")), "overflows 64 bits"));
  CHECK(contains(tensor_error(header_with("\"F32\"")),
                 "shape [2,3] of F32 needs 24 bytes, data_offsets [0, 12] give 12"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[2, 2]")),
                 "shape [2,2] of F16 needs 8 bytes, data_offsets [0, 12] give 12"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[2, 3]", "[12, 0]")), "data_offsets [12, 0] run backwards"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[2, 3]", "[12]")), "data_offsets has 1 numbers, not 2"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[2, 3]", "{}")), "no list data_offsets"));
  CHECK(contains(tensor_error(header_with("\"F16\"", "[2, 3]", "[1, 13]")),
                 "begins at 1 but the one before it ends at 0: a hole"));
  CHECK(contains(tensor_error("{\"a\": 5}"), "is a JSON number, not an object"));
}

TEST_CASE("tensors that overlap or leave a hole are Errors") {
  const auto two = [](const std::string& second) {
    return "{\"a\": {\"dtype\": \"U8\", \"shape\": [4], \"data_offsets\": [0, 4]}, "
           "\"b\": {\"dtype\": \"U8\", \"shape\": [4], \"data_offsets\": " +
           second + "}}";
  };
  CHECK(contains(error_for(file_of(two("[3, 7]"), 8)),
                 "tensor \"b\" begins at 3 but the one before it ends at 4: an overlap"));
  CHECK(contains(error_for(file_of(two("[5, 9]"), 9)),
                 "tensor \"b\" begins at 5 but the one before it ends at 4: a hole"));
}

TEST_CASE("a header that is no plain JSON object is an Error") {
  CHECK(contains(error_for(file_of("{\"a\": ", 0)), "header:1:6: broken JSON"));
  CHECK(contains(error_for(file_of("[]", 0)), "header:1:1: is a JSON array, not an object"));
  CHECK(contains(error_for(file_of("{\"a\": {\"dtype\": \"U8\", \"dtype\": \"I8\"}}", 0)),
                 "header:1:29: the key \"dtype\" stands twice"));
  const std::string one = "\"a\": {\"dtype\": \"U8\", \"shape\": [0], \"data_offsets\": [0, 0]}";
  CHECK(contains(error_for(file_of("{" + one + ", " + one + "}", 0)), "the key \"a\" stands twice"));
  CHECK(contains(error_for(file_of(std::string(1000000, '['), 0)), "header:1:1: is a JSON array"));
  CHECK(contains(error_for(file_of("{\"\xff\": 1}", 0)), "header:1:3: broken JSON"));
  // Control characters and great lengths do not reach the terminal.
  const std::string error = error_for(file_of("{\"\\u001b[2J" + std::string(5000, 'x') + "\": 1}", 0));
  CHECK(contains(error, "tensor \"\\u001b[2Jxxx"));
  CHECK(error.size() < 400);
}

TEST_CASE("files that are missing or no files are Errors") {
  const Scratch scratch;
  CHECK(contains(error_text([&] { open_safetensors(scratch.folder()); }),
                 scratch.folder().string() + ": holds neither model.safetensors nor model.safetensors.index.json"));
  CHECK(contains(error_text([&] { SafetensorsFile{scratch.folder()}; }), "is not a regular file"));
  CHECK(contains(error_text([&] { SafetensorsFile{scratch.folder() / "none"}; }), "none: cannot open: No such file"));
}

struct Shards {
  Scratch scratch;
  static std::string tensor(const std::string& name) {
    return "\"" + name + "\": {\"dtype\": \"U8\", \"shape\": [2], \"data_offsets\": [0, 2]}";
  }
  Shards() {
    scratch.write("1.safetensors", file_of("{" + tensor("a") + "}", 2));
    scratch.write("2.safetensors", file_of("{" + tensor("b") + "}", 2));
  }
  void write_index(const std::string& weight_map) const {
    scratch.write("model.safetensors.index.json", "{\"metadata\": {}, \"weight_map\": " + weight_map + "}");
  }
  std::string error(const std::string& weight_map) const {
    write_index(weight_map);
    return error_text([&] { open_safetensors(scratch.folder()); });
  }
};

TEST_CASE_METHOD(Shards, "the shards of an index make one checkpoint") {
  write_index("{\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"}");
  const SafetensorsCheckpoint checkpoint = open_safetensors(scratch.folder());
  CHECK(checkpoint.names() == std::vector<std::string>{"a", "b"});
  CHECK(static_cast<int>(checkpoint.at("b").data[1]) == 1);
  const std::string hash = checkpoint.hash();
  scratch.write("2.safetensors", file_of("{" + tensor("b") + "}  ", 2));
  CHECK(open_safetensors(scratch.folder()).hash() != hash);
}

TEST_CASE_METHOD(Shards, "index and shards may disagree about leftovers that a model computes by itself") {
  const std::string inv_freq = "model.layers.0.self_attn.rotary_emb.inv_freq";
  write_index("{\"a\": \"1.safetensors\", \"b\": \"2.safetensors\", \"" + inv_freq + "\": \"2.safetensors\"}");
  CHECK(open_safetensors(scratch.folder()).names() == std::vector<std::string>{"a", "b"});
  scratch.write("2.safetensors", file_of("{" + tensor(inv_freq) + "}", 2));
  write_index("{\"a\": \"1.safetensors\", \"model.rotary_emb.inv_freq\": \"2.safetensors\"}");
  CHECK(open_safetensors(scratch.folder()).has(inv_freq));
  CHECK(is_derived_tensor("rotary_emb.inv_freq"));
  CHECK(!is_derived_tensor("model.layers.0.self_attn.q_proj.bias"));
}

TEST_CASE_METHOD(Shards, "an index that does not fit its shards is an Error") {
  CHECK(contains(error("[]"), "index.json: no object weight_map"));
  CHECK(contains(error("{\"a\": \"1.safetensors\", \"c\": \"2.safetensors\"}"),
                 "tensor \"b\" is in 2.safetensors but weight_map does not say so"));
  CHECK(contains(error("{\"a\": \"1.safetensors\", \"c\": \"1.safetensors\"}"),
                 "weight_map says \"c\" is in 1.safetensors, but it is not"));
  CHECK(contains(error("{\"a\": \"3.safetensors\"}"), "3.safetensors: cannot open: No such file"));
  CHECK(contains(error("{\"a\": \"1.safetensors\", \"a\": \"2.safetensors\"}"), "the key \"a\" stands twice"));
  for (const char* outside : {"\"../1.safetensors\"", "\"/etc/passwd\"", "\"sub/1.safetensors\"", "\"..\"", "\"\"", "5",
                              "\"1.safetensors\\u0000\""}) {
    CHECK(contains(error("{\"a\": " + std::string(outside) + "}"), "which is no file name in this folder"));
  }
  scratch.write("2.safetensors", file_of("{" + tensor("a") + "}", 2));
  CHECK(contains(error("{\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"}"),
                 "2.safetensors: tensor \"a\" is also in another shard"));
}

TEST_CASE("tiny-books' file with a damaged header or cut off loads consistently or is an Error") {
  const Scratch scratch;
  const std::string good = read_file(kTinyBooks / "model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, good.data(), sizeof(header_bytes));
  std::mt19937 random(7);
  int errors = 0, loaded = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string head = good.substr(0, 8 + header_bytes);
    for (unsigned damage = 1 + random() % 3; damage > 0; --damage)
      head[random() % head.size()] = static_cast<char>(random());
    const auto path = scratch.write("damaged.safetensors", head);
    // The data are a hole of the file system: 2000 times 10 MB need not be written.
    const bool cut = trial % 4 == 0;
    std::filesystem::resize_file(path, cut ? random() % good.size() : good.size());
    try {
      const SafetensorsFile file(path);
      ++loaded;
      REQUIRE_FALSE(cut);
      REQUIRE(bytes_of_tensors(file) == static_cast<int64_t>(good.size() - head.size()));
    } catch (const Error& error) {
      ++errors;
      REQUIRE(contains(error.what(), path.string()));
    }
  }
  CAPTURE(errors, loaded);
  CHECK(errors > 500);
  CHECK(loaded > 50);
}

}  // namespace
}  // namespace qroar
