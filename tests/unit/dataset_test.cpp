#include "data/dataset.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <random>
#include <sstream>

#include "base/files.h"
#include "base/hash.h"
#include "data/tokenizer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

namespace fs = std::filesystem;

const fs::path kTinyBooks = fs::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books";

/// Sets QROAR_CACHE and puts back what it was.
class CacheVariable {
 public:
  explicit CacheVariable(const fs::path& folder) {
    if (const char* before = std::getenv("QROAR_CACHE")) before_ = before;
    ::setenv("QROAR_CACHE", folder.c_str(), 1);
  }
  ~CacheVariable() { before_.empty() ? ::unsetenv("QROAR_CACHE") : ::setenv("QROAR_CACHE", before_.c_str(), 1); }

 private:
  std::string before_;
};

/// A scratch folder for data whose caches lie in it, too.
struct Fixture {
  Scratch scratch;
  CacheVariable cache{scratch.folder() / "cache"};
  LlamaConfig model;

  Fixture() { model.vocab_size = 4096; }

  Dataset load(const std::string& name, const std::string& rest = "", const fs::path& folder = kTinyBooks) const {
    const std::string yaml = "path: " + (scratch.folder() / name).string() + rest;
    const DataSpec spec(Config::parse(yaml, "d.yaml"));
    return choose_documents(load_corpus(spec.path, folder, model), spec);
  }
  std::string error(const std::string& name, const std::string& rest = "", const fs::path& folder = kTinyBooks) const {
    return error_text([&] { load(name, rest, folder); });
  }
  std::string file(const std::string& name) const { return (scratch.folder() / name).string(); }

  std::vector<fs::path> cached() const {
    std::vector<fs::path> files;
    if (!fs::exists(scratch.folder() / "cache/tokens")) return files;
    for (const auto& entry : fs::directory_iterator(scratch.folder() / "cache/tokens")) files.push_back(entry.path());
    return files;
  }
};

std::vector<std::string> ids_of(const Dataset& dataset) {
  std::vector<std::string> ids;
  for (const Document& document : dataset.documents) ids.push_back(document.id);
  return ids;
}

/// Documents of 1, 2, 3 and 4 sentences.
const std::string kFour =
    "{\"id\": \"one\", \"text\": \"The cat sat.\"}\n"
    "{\"text\": \"The cat sat. The dog ran.\", \"source\": \"nobody\"}\r\n"
    "{\"id\": \"three\", \"text\": \"The cat sat. The dog ran. It rained.\"}\n"
    "{\"id\": \"four\", \"text\": \"The cat sat. The dog ran. It rained. They went home.\"}\n\n \n";

TEST_CASE_METHOD(Fixture, "a text file is one document named after the file") {
  const std::string text = "It was a dark night.\nThe end.\n";
  scratch.write("night.txt", text);
  const Dataset dataset = load("night.txt");
  REQUIRE(dataset.documents.size() == 1);
  CHECK(dataset.documents[0].id == "night.txt");
  CHECK(dataset.documents[0].tokens == load_tokenizer(kTinyBooks)->encode(text));
  CHECK(dataset.hash == hash_bytes(text));
}

TEST_CASE_METHOD(Fixture, "JSON lines are documents, and one without an id is named by its line") {
  scratch.write("four.jsonl", kFour);
  const Dataset dataset = load("four.jsonl");
  CHECK(ids_of(dataset) == std::vector<std::string>{"one", "four:2", "three", "four"});
  CHECK(dataset.documents[1].tokens == load_tokenizer(kTinyBooks)->encode("The cat sat. The dog ran."));
}

TEST_CASE_METHOD(Fixture, "min_tokens, skip and documents choose in this order") {
  scratch.write("four.jsonl", kFour);
  const auto all = load("four.jsonl").documents;
  const std::string second = "\nmin_tokens: " + std::to_string(all[1].tokens.size());
  const std::string longer = "\nmin_tokens: " + std::to_string(all[3].tokens.size() + 1);
  CHECK(ids_of(load("four.jsonl", second)) == std::vector<std::string>{"four:2", "three", "four"});
  CHECK(ids_of(load("four.jsonl", second + "\nskip: 1\ndocuments: 1")) == std::vector<std::string>{"three"});
  CHECK(ids_of(load("four.jsonl", "\nskip: 3")) == std::vector<std::string>{"four"});
  CHECK(contains(error("four.jsonl", second + "\nskip: 1\ndocuments: 3"),
                 file("four.jsonl") + ": data.documents 3 after data.skip 1 is more than there are: 3 of 4 documents"));
  CHECK(contains(error("four.jsonl", "\nskip: 4"), "data.skip 4 is more than there are: 4 of 4"));
  CHECK(contains(error("four.jsonl", "\nskip: 9223372036854775807\ndocuments: 9223372036854775807"), "4 of 4"));
  CHECK(contains(error("four.jsonl", longer),
                 "all 4 documents are shorter than data.min_tokens " + std::to_string(all[3].tokens.size() + 1) +
                     "; the longest, 'four', has " + std::to_string(all[3].tokens.size())));
}

TEST_CASE_METHOD(Fixture, "the block data is read with its defaults and bounds") {
  const DataSpec spec(Config::parse("path: x.txt", "d.yaml"));
  CHECK(spec.path.filename() == "x.txt");
  CHECK(spec.documents == 0);
  CHECK(spec.min_tokens == 1);
  CHECK(spec.skip == 0);
  for (const char* wrong : {"documents: -1", "min_tokens: 0", "skip: -1"}) {
    const std::string yaml = std::string("path: x.txt\n") + wrong;
    CHECK(contains(error_text([&] { DataSpec{Config::parse(yaml, "d.yaml")}; }), "d.yaml:2:"));
  }
  CHECK(contains(error_text([] { DataSpec{Config::parse("skip: 1", "d.yaml")}; }), "path"));
}

TEST_CASE_METHOD(Fixture, "a bad line is an Error with file and line") {
  const std::string good = "{\"id\": \"a\", \"text\": \"The cat.\"}\n";
  const auto error_after_good = [&](const std::string& line) {
    scratch.write("bad.jsonl", good + line);
    return error("bad.jsonl");
  };
  const std::string place = file("bad.jsonl") + ":2";
  CHECK(
      contains(error_after_good("{\"id\": \"b\", \"text\": }\n"),
               place + ":21: broken JSON: unexpected '}'; expected '[', '{', or a literal; every line is one object"));
  CHECK(contains(error_after_good("[1, 2]\n"), place + ":1: is a JSON array"));
  CHECK(contains(error_after_good("{\"id\": \"b\"}"), place + ": no \"text\""));
  CHECK(contains(error_after_good("{\"text\": 5}"), place + ": \"text\" is a JSON number, not a string"));
  CHECK(contains(error_after_good("{\"id\": 5, \"text\": \"x\"}"), place + ": \"id\" is a JSON number"));
  CHECK(contains(error_after_good("\n" + good), place + ": blank line between documents"));
  CHECK(contains(error_after_good("{\"id\": \"hollow\", \"text\": \"\"}\n"), "document 'hollow' is empty"));
}

TEST_CASE_METHOD(Fixture, "files that hold no usable text are Errors that say what to do") {
  CHECK(contains(error("missing.txt"), file("missing.txt")));
  scratch.write("a.jsonl", "\n");
  CHECK(contains(error("a.jsonl"), file("a.jsonl") + ": holds no documents"));
  scratch.write("a.txt", "");
  CHECK(contains(error("a.txt"), "document 'a.txt' is empty"));
  scratch.write("a.csv", "x");
  CHECK(contains(error("a.csv"), file("a.csv") + ": unknown kind of data file"));
  scratch.write("b.jsonl.xz", "x");
  CHECK(contains(error("b.jsonl.xz"), "unpack it with: xz -dk " + file("b.jsonl.xz")));
  CHECK(contains(error("b.jsonl"), "not found, but " + file("b.jsonl.xz") + " is there; unpack it with: xz -dk"));
}

TEST_CASE_METHOD(Fixture, "a tokenizer of another vocabulary is an Error that names both sizes") {
  scratch.write("a.txt", "The cat sat.");
  model.vocab_size = 4095;
  CHECK(contains(error("a.txt"),
                 kTinyBooks.string() + ": the tokenizer's vocabulary has 4096 entries, the model's 4095"));
  for (const int64_t rows : {4096 + 256, 4096 + 257, 8192}) {  // padded embeddings
    model.vocab_size = rows;
    CHECK(load("a.txt").documents.size() == 1);
  }
}

TEST_CASE_METHOD(Fixture, "embeddings padded by more than usual are a warning, once in a run") {
  const auto logged = [&](int64_t rows) {
    model.vocab_size = rows;
    std::ostringstream log;
    const auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(log)));
    check_vocabulary(100015, "models/deepseek", model);
    spdlog::set_default_logger(before);
    return log.str();
  };
  CHECK(logged(100015 + 256).empty());
  CHECK(contains(logged(102400),
                 "models/deepseek: the tokenizer's vocabulary has 100015 entries, the model's 102400: the 2385 beyond "
                 "are taken for padding of the embeddings"));
  CHECK(logged(102400).empty());
  CHECK(contains(logged(100015 + 257), "the 257 beyond"));
}

TEST_CASE_METHOD(Fixture, "a token file of the model's tokenizer is read, of another one it is an Error") {
  const std::string hash = tokenizer_hash(kTinyBooks);
  write_token_file(scratch.folder() / "a.tok", {hash, 4096, "x", {{"a", {5, 6}}, {"b", {7}}}});
  CHECK(ids_of(load("a.tok", "\nmin_tokens: 2")) == std::vector<std::string>{"a"});
  CHECK(load("a.tok").hash == hash_file(scratch.folder() / "a.tok"));
  CHECK(cached().empty());
  write_token_file(scratch.folder() / "b.tok", {"feed", 4096, "x", {{"a", {5, 6}}}});
  const std::string text = error("b.tok");
  CHECK(contains(text, file("b.tok") + ": its tokens are of a tokenizer with hash feed, the model " +
                           kTinyBooks.string() + " has one with hash " + hash));
  CHECK(contains(text, "scripts/tokenize_texts.py " + kTinyBooks.string() + " TEXT OUT"));
  write_token_file(scratch.folder() / "c.tok", {hash, 4096, "x", {{"a", {5, 6}}, {"void", {}}}});
  CHECK(contains(error("c.tok"), "document 'void' is empty"));
  write_token_file(scratch.folder() / "d.tok", {hash, 4096, "x", {{"a", {5}}, {"b", {6}}, {"a", {7}}}});
  CHECK(error("d.tok") ==
        file("d.tok") +
            ": documents 1 and 3 have the same id 'a', and rows are compared by it; make it again with "
            "scripts/tokenize_texts.py");
}

TEST_CASE_METHOD(Fixture, "a tokenizer.json that is not byte-level BPE is refused, and tokens made before are read") {
  const Scratch folder;
  const std::string unigram = R"({"model": {"type": "Unigram"}})";
  folder.write("tokenizer.json", unigram);
  scratch.write("a.txt", "The cat sat.");
  CHECK(contains(error("a.txt", "", folder.folder()),
                 "tokenizer.json: its model is \"Unigram\", not BPE; tokenize with scripts/tokenize_texts.py instead"));
  write_token_file(scratch.folder() / "a.tok", {hash_bytes(unigram), 4096, "x", {{"a", {5, 6}}}});
  CHECK(load("a.tok", "", folder.folder()).documents.size() == 1);
}

TEST_CASE_METHOD(Fixture, "tokens are cached by tokenizer, data and file name") {
  scratch.write("a.txt", "The cat sat.");
  const auto first = load("a.txt").documents;
  REQUIRE(cached().size() == 1);
  // A planted token shows that the second load reads the cache.
  TokenFile planted = read_token_file(cached()[0]);
  CHECK(planted.tokenizer == tokenizer_hash(kTinyBooks));
  CHECK(planted.documents[0].tokens == first[0].tokens);
  planted.documents[0].tokens = {99};
  write_token_file(cached()[0], planted);
  CHECK(load("a.txt").documents[0].tokens == std::vector<int32_t>{99});
  // The same bytes under another name are a document of another name.
  scratch.write("b.txt", "The cat sat.");
  CHECK(load("b.txt").documents[0].id == "b.txt");
  // Other bytes under the same name are tokenized again.
  scratch.write("a.txt", "The dog ran.");
  CHECK(load("a.txt").documents[0].tokens == load_tokenizer(kTinyBooks)->encode("The dog ran."));
  CHECK(cached().size() == 3);
}

TEST_CASE_METHOD(Fixture, "a broken cache is made again and one that cannot be written does not matter") {
  scratch.write("a.txt", "The cat sat.");
  const auto tokens = load("a.txt").documents[0].tokens;
  REQUIRE(cached().size() == 1);
  const std::string whole = read_file(cached()[0]);
  write_file_atomically(cached()[0], whole.substr(0, whole.size() - 3));
  CHECK(load("a.txt").documents[0].tokens == tokens);
  CHECK(read_file(cached()[0]) == whole);

  // Bytes that flip: whatever they say, they are not used.
  std::mt19937 random(7);
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::err);  // each is a warning
  for (int trial = 0; trial < 300; ++trial) {
    std::string bytes = whole;
    bytes[trial < 100 ? static_cast<std::size_t>(trial) : random() % bytes.size()] ^=
        static_cast<char>(1 + random() % 255);
    write_file_atomically(cached()[0], bytes);
    const Document again = load("a.txt").documents[0];
    CHECK(again.tokens == tokens);
    CHECK(again.id == "a.txt");
    CHECK(again.bytes == 12);
    CHECK(read_file(cached()[0]) == whole);
  }
  spdlog::set_level(level);

  // The whole cache of another text, and one without a hash.
  scratch.write("b.txt", "The dog ran.");
  const auto others = load("b.txt").documents[0].tokens;
  REQUIRE(cached().size() == 2);
  const auto own = read_file(cached()[0]) == whole ? cached()[0] : cached()[1];
  const auto other = own == cached()[0] ? cached()[1] : cached()[0];
  fs::copy_file(other, own, fs::copy_options::overwrite_existing);
  CHECK(load("a.txt").documents[0].tokens == tokens);
  CHECK(read_file(own) == whole);
  std::string without = whole;
  without.replace(without.find("\"hash\""), 6, "\"hush\"");
  write_file_atomically(own, without);
  CHECK(load("a.txt").documents[0].tokens == tokens);
  CHECK(read_file(own) == whole);

  // A file where the folder should be: also root cannot write below it.
  const CacheVariable blocked(scratch.write("blocked", "a file"));
  CHECK(load("a.txt").documents[0].tokens == tokens);
}

}  // namespace
}  // namespace qroar
