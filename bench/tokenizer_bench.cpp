// CPU seconds of tokenizing a text as a single document, the best of three.  Loading is not counted.
// usage: tokenizer_bench MODEL_FOLDER TEXT.txt      prints: bytes, tokens, seconds, hash of the tokens as int32
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <limits>

#include "base/error.h"
#include "base/hash.h"
#include "data/texts.h"
#include "data/tokenizer.h"

namespace qroar {
namespace {

int run(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: tokenizer_bench MODEL_FOLDER TEXT.txt\n");
    return 1;
  }
  const auto tokenizer = load_tokenizer(argv[1]);
  const std::string text = read_text(argv[2]);
  std::vector<int32_t> ids;
  double seconds = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 3; ++i) {
    const std::clock_t start = std::clock();
    ids = tokenizer->encode(text);
    seconds = std::min(seconds, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  const std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
  fmt::print("{} {} {:.4f} {}\n", text.size(), ids.size(), seconds, hash_bytes(bytes));
  return 0;
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  try {
    return qroar::run(argc, argv);
  } catch (const qroar::Error& error) {
    fmt::print(stderr, "tokenizer_bench: {}\n", error.what());
    return 1;
  }
}
