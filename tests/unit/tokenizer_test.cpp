#include "data/tokenizer.h"

#include <sstream>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "support/catch.h"
#include "support/data.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

const std::filesystem::path kTinyBooks = std::filesystem::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books";

TEST_CASE("Llama-2's tokenizer gives the ids of Llama-2", "[data]") {
  const auto data = data_folder("Llama-2's tokenizer gives the ids of Llama-2");
  if (!data) return;
  const Scratch scratch;
  std::filesystem::create_symlink(*data / "tokenizers/llama2-tokenizer.model", scratch.folder() / "tokenizer.model");
  const auto tokenizer = load_tokenizer(scratch.folder());
  CHECK(tokenizer->vocab_size() == 32000);
  std::istringstream lines(read_file(*data / "tokenizers/llama2_vectors.jsonl"));
  int vectors = 0;
  for (std::string line; std::getline(lines, line); ++vectors) {
    const auto vector = Json::parse(line);
    CAPTURE(line);
    CHECK(tokenizer->encode(vector.at("text")) == vector.at("ids").get<std::vector<int32_t>>());
  }
  CHECK(vectors >= 17);
}

TEST_CASE("tiny-books' tokenizer puts no BOS and no EOS and takes any bytes") {
  const auto tokenizer = load_tokenizer(kTinyBooks);
  CHECK(tokenizer->vocab_size() == 4096);
  CHECK(tokenizer->encode("").empty());
  const std::vector<int32_t> ids = tokenizer->encode("Once upon a time <s> </s>");
  REQUIRE(ids.size() > 4);
  CHECK(tokenizer->decode(ids) == "Once upon a time <s> </s>");
  for (const int32_t id : ids) CHECK((id > 2 && id < 4096));
  for (const int32_t id : tokenizer->encode(std::string("\xff\xfe\0 \xc3", 5))) CHECK((id >= 0 && id < 4096));
}

TEST_CASE("a tokenizer that cannot be loaded is an Error that names the file") {
  const Scratch scratch;
  const auto error = [&] { return error_text([&] { load_tokenizer(scratch.folder()); }); };
  CHECK(contains(error(), scratch.folder().string() + ": holds neither"));
  for (const char* content : {"", "not a model", "{\"version\": \"1.0\"}"}) {
    const auto path = scratch.write("tokenizer.json", content);
    const bool is_json = *content == '{';
    CHECK(contains(error(),
                   path.string() + (is_json ? ": not a tokenizer.json of byte-level or SentencePiece BPE" : ":1:")));
  }
  scratch.write("tokenizer.json", R"({"model": {"type": "WordPiece"}})");
  CHECK(contains(error(), "its model is \"WordPiece\", not BPE"));
  scratch.write("tokenizer.json", R"({"normalizer": {"type": "Nmt"}, "model": {"vocab": {}, "merges": []}})");
  CHECK(contains(
      error(), "its normalizer {\"type\":\"Nmt\"} is not read here; tokenize with scripts/tokenize_texts.py instead"));
  scratch.write("tokenizer.json", R"({"pre_tokenizer": null, "model": {"vocab": {}, "merges": []}})");
  CHECK(contains(error(), "its decoder null is not read here"));
  scratch.write("tokenizer.json",
                R"({"pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"}, "odd": 1,
                                      "model": {"vocab": {}, "merges": []}})");
  CHECK(contains(error(), "has the key \"odd\", which is not read here"));
  const auto model_error = [&](const std::string& model) {
    scratch.write("tokenizer.json", R"({"pre_tokenizer": {"type": "ByteLevel"}, "model": )" + model + "}");
    return error();
  };
  CHECK(contains(model_error(R"({"vocab": {"a": 0}, "merges": [["a", "b"]]})"),
                 "a merge names a token \"b\" that is not in the vocabulary"));
  CHECK(contains(model_error(R"({"vocab": {"a": 0}, "merges": ["ab"]})"), "the merge \"ab\" is not two tokens"));
  CHECK(
      contains(model_error(R"({"vocab": {"a": 4294967301}, "merges": []})"), "the token \"a\" has the id 4294967301"));
  CHECK(contains(model_error(R"({"vocab": {"a": 1.5}, "merges": []})"), "the token \"a\" has the id 1.5"));
  CHECK(contains(model_error(R"({"vocab": {"a": 0}, "merges": [], "dropout": 0.1})"), "its model's dropout is 0.1"));
  CHECK(contains(model_error(R"({"vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"})"),
                 "its model's end_of_word_suffix is \"</w>\", which is not done here"));
  CHECK(contains(model_error(R"({"vocab": {"a": 0}, "merges": [], "unk_token": "<unk>"})"),
                 "its vocabulary lacks \"<unk>\""));
  CHECK(contains(model_error(R"({"vocab": {"a": 0}, "merges": [], "byte_fallback": true})"),
                 "its vocabulary lacks \"<0x00>\""));
  CHECK(model_error(R"({"vocab": {"a": 0}, "merges": [], "dropout": 0.0, "end_of_word_suffix": ""})") == "(no error)");
  for (const char* content : {"", "not a model", "{\"version\": \"1.0\"}"}) {
    const auto path = scratch.write("tokenizer.model", content);
    CHECK(contains(error(), path.string() + ": not a SentencePiece model"));
  }
}

TEST_CASE("byte-level BPE merges by rank, cuts before merging, and gives any bytes back") {
  const Scratch scratch;
  // Bytes as GPT-2 writes them: a space is U+0120.  Merges: l o, lo w, space lo (never within a word), 1 1 (cut
  // before).
  std::string vocab =
      R"("l": 0, "o": 1, "w": 2, "Ġ": 3, "1": 4, "lo": 5, "low": 6, "Ġlo": 7, "11": 8, "Ã": 9, "¤": 10)";
  scratch.write("tokenizer.json", R"({"added_tokens": [{"id": 11, "content": "<end>", "special": true}],
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
                                                             {"type": "ByteLevel", "add_prefix_space": false}]},
      "model": {"type": "BPE", "vocab": {)" +
                                      vocab + R"(}, "merges": [["l", "o"], ["lo", "w"], "Ġ lo", ["1", "1"]]}})");
  const auto tokenizer = load_tokenizer(scratch.folder());
  CHECK(tokenizer->vocab_size() == 12);
  CHECK(tokenizer->encode("low lo11") == std::vector<int32_t>{6, 7, 4, 4});
  CHECK(tokenizer->encode("lolow low") == std::vector<int32_t>{5, 6, 3, 6});
  CHECK(tokenizer->encode("\xc3\xa4") == std::vector<int32_t>{9, 10});
  CHECK(tokenizer->decode(std::vector<int32_t>{7, 11, 9, 10}) == " lo\xc3\xa4");
  CHECK(tokenizer->encode("lozw") == std::vector<int32_t>{6});  // a byte without a token is dropped, as tokenizers does
}

TEST_CASE("a byte without a token is the unknown one where there is one, and a run of them is one where they fuse") {
  const Scratch scratch;
  const auto encode = [&](const std::string& more) {
    scratch.write("tokenizer.json",
                  R"({"pre_tokenizer": {"type": "ByteLevel", "use_regex": false, "add_prefix_space": false},
        "model": {"vocab": {"<unk>": 0, "a": 1}, "merges": [])" +
                      more + "}}");
    return load_tokenizer(scratch.folder())->encode("azza");
  };
  CHECK(encode("") == std::vector<int32_t>{1, 1});
  CHECK(encode(R"(, "unk_token": "<unk>")") == std::vector<int32_t>{1, 0, 0, 1});
  CHECK(encode(R"(, "unk_token": "<unk>", "fuse_unk": true)") == std::vector<int32_t>{1, 0, 1});
}

TEST_CASE("a special token of the vocabulary is no piece of a text, even where whole pieces come first") {
  const Scratch scratch;
  const auto encode = [&](bool special) {
    Json json = Json::parse(R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "added_tokens": [],
                                "model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [], "ignore_merges": true}})");
    if (special) json["added_tokens"].push_back({{"id", 2}, {"content", "ab"}, {"special", true}});
    scratch.write("tokenizer.json", json.dump());
    return load_tokenizer(scratch.folder())->encode("ab");
  };
  CHECK(encode(false) == std::vector<int32_t>{2});
  CHECK(encode(true) == std::vector<int32_t>{0, 1});
}

/// The parts of a tokenizer.json of SentencePiece's BPE: bytes are 3 to 258, then come letters and what they merge to.
struct SentencePieceJson {
  Json json = Json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>",
              "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 259, "l": 260, "o": 261, "lo": 262, "▁lo": 263, "▁▁": 264},
              "merges": [["l", "o"], ["▁", "lo"], ["▁", "▁"]]}})");
  Scratch scratch;

  SentencePieceJson() {
    for (int byte = 0; byte < 256; ++byte) json["model"]["vocab"][fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  }
  std::unique_ptr<const Tokenizer> load() const {
    scratch.write("tokenizer.json", json.dump());
    return load_tokenizer(scratch.folder());
  }
  std::string error() const {
    return error_text([&] { load(); });
  }
};

using Ids = std::vector<int32_t>;

TEST_CASE_METHOD(SentencePieceJson,
                 "SentencePiece's BPE in a tokenizer.json puts a space before and falls back to bytes") {
  const auto tokenizer = load();
  CHECK(tokenizer->vocab_size() == 265);
  CHECK(tokenizer->encode("").empty());
  CHECK(tokenizer->encode("lo lo") == Ids{263, 263});
  CHECK(tokenizer->encode(" lo") == Ids{259, 263});
  CHECK(tokenizer->encode("o  o") == Ids{259, 261, 264, 261});
  CHECK(tokenizer->encode("l\u00e4\n") == Ids{259, 260, 3 + 0xC3, 3 + 0xA4, 3 + 10});
  CHECK(tokenizer->encode("<s>") == Ids{259, 3 + '<', 3 + 's', 3 + '>'});  // spelled out it is text
  CHECK(tokenizer->decode(Ids{263, 263, 3 + 0xC3, 3 + 0xA4}) == "lo lo\u00e4");
  CHECK(tokenizer->decode(Ids{259, 263, 1, 264, 999}) == " lo  ");
  CHECK(tokenizer->decode(Ids{3 + 0xC3, 1, 3 + 0xA4, 3 + 0xC3, 262}) == "\ufffd\ufffd\ufffdlo");
  CHECK(tokenizer->decode(Ids{}).empty());
}

TEST_CASE_METHOD(SentencePieceJson,
                 "without Prepend no space is put before, and none is taken off where nothing strips") {
  json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  json["decoder"]["decoders"].erase(3);
  const auto tokenizer = load();
  CHECK(tokenizer->encode("lo lo") == Ids{262, 263});
  CHECK(tokenizer->decode(Ids{263, 262}) == " lolo");
}

TEST_CASE_METHOD(SentencePieceJson, "Metaspace puts a space before where none is, and may cut texts at them") {
  json["normalizer"] = nullptr;
  const auto encode = [&](const Json& more, const std::string& text) {
    json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}};
    json["pre_tokenizer"].update(more);
    return load()->encode(text);
  };
  for (const char* scheme : {"first", "always"}) {
    const Json whole = {{"prepend_scheme", scheme}, {"split", false}};
    CHECK(encode(whole, "lo  o") == Ids{263, 264, 261});
    CHECK(encode(whole, " lo") == Ids{263});
    CHECK(encode({{"prepend_scheme", scheme}, {"split", true}}, "lo  lo") == Ids{263, 259, 263});
    CHECK(encode({{"prepend_scheme", scheme}}, "o  lo ") == Ids{259, 261, 259, 263, 259});
  }
  CHECK(encode({{"prepend_scheme", "never"}, {"split", false}}, "lo lo") == Ids{262, 263});
  CHECK(encode({{"prepend_scheme", "never"}, {"split", true}}, "o lo") == Ids{261, 263});
}

TEST_CASE_METHOD(SentencePieceJson, "a normalizer that moves what Metaspace takes for a text's begin is an Error") {
  const auto error_with = [&](const Json& normalizer, bool is_first) {
    json["normalizer"] = normalizer;
    const Json mark{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}},
        digits{{"type", "Digits"}};
    json["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers", is_first ? Json::array({mark}) : Json::array({digits, mark})}};
    return error();
  };
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const std::string said =
      "tokenizer.json: its Metaspace marks what begins a text (prepend_scheme first), and its normalizer changes what "
      "that is; tokenize with scripts/tokenize_texts.py instead";
  for (const Json& normalizer : {replace("lo", "o"), replace("l", ""), replace("\u00e4o", "lo")})
    CHECK(contains(error_with(normalizer, true), said));
  for (const Json& normalizer :
       {replace("l", "lo"), Json{{"type", "Prepend"}, {"prepend", "▁"}}, Json{{"type", "NFC"}}}) {
    CHECK(error_with(normalizer, true) == "(no error)");
    CHECK(contains(error_with(normalizer, false), said));
  }
  CHECK(error_with(nullptr, false) == "(no error)");
}

TEST_CASE_METHOD(SentencePieceJson, "another normalizer, pre-tokenizer or decoder is an Error with the remedy") {
  const SentencePieceJson whole;
  const std::string remedy = "is not read here; tokenize with scripts/tokenize_texts.py instead";
  const auto error_with = [&](const char* part, const Json& value) {
    json = whole.json;
    json[part] = value;
    return error();
  };
  CHECK(error_with("normalizer", {{"type", "Lowercase"}}) ==
        (scratch.folder() / "tokenizer.json").string() + ": its normalizer {\"type\":\"Lowercase\"} " + remedy);
  CHECK(contains(error_with("normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", " "}}}, {"content", "▁"}}),
                 remedy));
  CHECK(contains(error_with("normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "▁"}}),
                 remedy));
  CHECK(contains(error_with("pre_tokenizer", {{"type", "Whitespace"}}),
                 "its pre-tokenizer {\"type\":\"Whitespace\"} " + remedy));
  CHECK(contains(
      error_with("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"add_prefix_space", false}}), remedy));
  CHECK(contains(error_with("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "last"}}),
                 remedy));
  CHECK(contains(error_with("decoder", nullptr), "its decoder null " + remedy));
  CHECK(contains(error_with("decoder", {{"type", "Metaspace"}, {"replacement", "▁"}}), remedy));
  json = whole.json;
  json["decoder"]["decoders"][1]["odd"] = 1;
  CHECK(contains(error(), "its decoder {\"type\":\"ByteFallback\",\"odd\":1} has the key \"odd\""));
  json = whole.json;
  json["decoder"]["decoders"].erase(1);
  CHECK(contains(error(), remedy));
  json = whole.json;
  json["model"]["vocab"].erase("<0x7F>");
  CHECK(contains(error(), "its vocabulary lacks \"<0x7F>\""));
  json = whole.json;
  json["added_tokens"][1]["id"] = 2;
  CHECK(contains(error(), "the added token \"<s>\" has the id 2, where its vocabulary has 1"));
  json["added_tokens"][1] = {{"id", 2}, {"content", "<t>"}};
  CHECK(contains(error(), "the added token \"<t>\" has the id 2, where its vocabulary has \"</s>\""));
  json["added_tokens"][1] = {{"id", 270}, {"content", "<t>"}};
  CHECK(contains(error(), "its added token \"<t>\" has the id 270, and Hugging Face's tokenizers make it 265; take"));
}

TEST_CASE_METHOD(SentencePieceJson, "plain added tokens cut a text into sections, each of which is normalized") {
  json["added_tokens"].push_back({{"id", 265}, {"content", "<t>"}, {"normalized", false}, {"rstrip", true}});
  json["added_tokens"].push_back({{"id", 266}, {"content", "\u00e4"}, {"normalized", true}});
  const auto tokenizer = load();
  CHECK(tokenizer->vocab_size() == 267);
  CHECK(tokenizer->encode("lo<t>  lo <t>") == Ids{263, 265, 263, 259, 265});
  CHECK(tokenizer->encode("l\u00e4\u00e4") ==
        Ids{259, 260, 3 + 0xC3, 3 + 0xA4, 3 + 0xC3, 3 + 0xA4});  // is "▁\u00e4" here
  CHECK(tokenizer->encode("\u00e4 \u00e4") == Ids{266, 266});
  CHECK(tokenizer->decode(Ids{263, 265, 262}) == "lo<t>lo");
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
  CHECK(load()->encode("lo<t> lo\u00e4lo") == Ids{263, 265, 262, 266, 262});
  CHECK(load()->encode("<t>lo lo") == Ids{265, 262, 263});
}

TEST_CASE_METHOD(SentencePieceJson, "a megabyte in one piece is merged in a moment") {
  std::string text;
  while (text.size() < 1'000'000) text += "lo  ol \u00e4";
  const auto tokenizer = load();
  const std::vector<int32_t> ids = tokenizer->encode(text);
  CHECK(tokenizer->decode(ids) == text);
  CHECK(ids.size() > 400'000);
}

TEST_CASE("the tokenizer's hash is of the one file that is read") {
  const Scratch scratch;
  CHECK(error_text([&] { tokenizer_hash(scratch.folder()); }) ==
        scratch.folder().string() +
            ": holds neither tokenizer.model nor tokenizer.json; copy the file from where the model "
            "came from");
  scratch.write("tokenizer.json", "{}");
  CHECK(tokenizer_hash(scratch.folder()) == hash_bytes("{}"));
  for (const char* model :
       {"model", "", "\n\x0e\n\x05<unk>", "IQ==", "IQ== zero\n", "IQ== \n", " 0\n", "version https://x 1\n"}) {
    scratch.write("tokenizer.model", model);
    CAPTURE(model);
    CHECK(tokenizer_hash(scratch.folder()) == hash_bytes(model));
  }
  std::filesystem::remove(scratch.folder() / "tokenizer.model");
  std::filesystem::create_symlink("nowhere", scratch.folder() / "tokenizer.model");
  CHECK(contains(error_text([&] { tokenizer_hash(scratch.folder()); }), "tokenizer.model: cannot open"));
}

TEST_CASE("tokenizer.json is read beside tokenizer.model where it adds tokens that texts may contain") {
  const Scratch scratch;
  const std::filesystem::path books = std::filesystem::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books";
  std::filesystem::copy_file(books / "tokenizer.model", scratch.folder() / "tokenizer.model");
  const auto file_with = [&](const std::string& content, bool special) {
    const Json token{{"id", 9000}, {"content", content}, {"special", special}};
    scratch.write("tokenizer.json", Json{{"added_tokens", {token}}}.dump());
    return tokenizer_file(scratch.folder()).filename();
  };
  CHECK(file_with("<think>", false) == "tokenizer.json");
  CHECK(file_with("<think>", true) == "tokenizer.model");
  CHECK(file_with("<s>", false) == "tokenizer.model");
  scratch.write("tokenizer.json", "broken");
  CHECK(contains(error_text([&] { tokenizer_file(scratch.folder()); }), "tokenizer.json:1:1: broken JSON"));
}

TEST_CASE("tiktoken's tokenizer.model gives way to tokenizer.json, and without one is an Error") {
  const Scratch scratch;
  const auto model = scratch.write("tokenizer.model", "IQ== 0\nIg== 1\nIw== 2\n");
  const auto error = error_text([&] { load_tokenizer(scratch.folder()); });
  CHECK(error ==
        model.string() +
            ": is of tiktoken's format, which is not read here; copy the tokenizer.json of the model beside it");
  CHECK(error_text([&] { tokenizer_hash(scratch.folder()); }) == error);
  const std::string json = R"({"pre_tokenizer": {"type": "ByteLevel"}, "model": {"vocab": {"a": 0}, "merges": []}})";
  scratch.write("tokenizer.json", json);
  CHECK(tokenizer_hash(scratch.folder()) == hash_bytes(json));
  CHECK(load_tokenizer(scratch.folder())->encode("aa") == std::vector<int32_t>{0, 0});
  // Another broken file does not.
  scratch.write("tokenizer.model", "IQ==\n");
  CHECK(contains(error_text([&] { load_tokenizer(scratch.folder()); }), "not a SentencePiece model"));
}

TEST_CASE("a pattern that backtracks without end, or is none, is one line") {
  const Scratch scratch;
  const auto error_with = [&](const std::string& pattern, const std::string& text) {
    Json json = Json::parse(R"({"model": {"vocab": {"a": 0}, "merges": []}})");
    const Json split{{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", pattern}}}};
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, {{"type", "ByteLevel"}}}}};
    scratch.write("tokenizer.json", json.dump());
    return error_text([&] { load_tokenizer(scratch.folder())->encode(text); });
  };
  CHECK(contains(error_with("(a+)+$", std::string(50'000, 'a') + "b"),
                 "tokenizer.json: its pattern fails on a piece of 50001 bytes: "));
  CHECK(contains(error_with("(a", "a"), "is wrong at 2: "));
  CHECK(contains(error_with(std::string(200'000, '('), "a"), "is wrong at "));
  CHECK(error_with("(a", "a").size() < 300);
}

TEST_CASE("one word of a megabyte is tokenized in time that is not quadratic") {
  const Scratch scratch;
  Json json = Json::parse(R"({"model": {"vocab": {"a": 0, "aa": 1}, "merges": [["a", "a"]]}, "pre_tokenizer": null})");
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  scratch.write("tokenizer.json", json.dump());
  const auto ids = load_tokenizer(scratch.folder())->encode(std::string(1'000'001, 'a'));
  CHECK(ids.size() == 500'001);
}

}  // namespace
}  // namespace qroar
