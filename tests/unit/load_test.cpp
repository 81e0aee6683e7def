// YAML text, includes and overrides, with the message of each refusal.
#include "config/config.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

using namespace qroar;

namespace {

std::string refusal(const std::string& text) {
  return error_text([&] { Config::parse(text, "y.yaml"); });
}

std::string written(const std::string& text) { return Config::parse(text, "y.yaml").json().dump(); }

std::string load_refusal(const std::filesystem::path& file, const std::vector<std::string>& overrides = {}) {
  return error_text([&] { Config::load(file, overrides); });
}

}  // namespace

TEST_CASE("block and flow style, comments and quotes parse") {
  CHECK(written("# head\na: 1  # tail\nb:\n  - x\n  - {c: 'it''s', d: \"t\\tb\"}\ne: |\n  two\n  lines\n") ==
        R"({"a":1,"b":["x",{"c":"it's","d":"t\tb"}],"e":"two\nlines\n"})");
  CHECK(written("---\na: 1\n...\n") == R"({"a":1})");
  CHECK(written("\xEF\xBB\xBF{a: \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80}") ==
        "{\"a\":\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}");
}

TEST_CASE("line breaks at the end of a text in quotes are kept") {
  CHECK(written("a: '\n\n  '\nb: 'x\n\n  '\nc: &k 'it''s\n\n\n\n  '\nd: \"x\\n\\n\"\ne: *k\n") ==
        R"({"a":"\n","b":"x\n","c":"it's\n\n\n","d":"x\n\n","e":"it's\n\n\n"})");
  CHECK(written("\xEF\xBB\xBF{a: '\n\n\n'}") == R"({"a":"\n\n"})");
  CHECK(written("a: |+\n  x\n\nb: >-\n  y\n") == R"({"a":"x\n\n","b":"y"})");
  CHECK(refusal("a: \"x\n\n  \"") ==
        "y.yaml:1:4: line breaks in front of the closing quote; write \\n for each of them");
  CHECK(refusal("a: >+\n  x\n\n") ==
        "y.yaml:1:4: a folded text that keeps the line breaks at its end (>+); write it in double quotes, with \\n");
}

TEST_CASE("a text may be tagged as one; other tags are refused") {
  CHECK(written("a: !!str 4") == R"({"a":"4"})");
  CHECK(refusal("a: !!int 4") == "y.yaml:1:4: the tag 'tag:yaml.org,2002:int' is not supported; remove it");
  CHECK(refusal("a: !mine {b: 1}") == "y.yaml:1:4: the tag '!mine' is not supported; remove it");
  CHECK(refusal("a:\n  !x [1]") == "y.yaml:2:3: the tag '!x' is not supported; remove it");
}

TEST_CASE("the top must be a map") {
  CHECK(refusal("") == "y.yaml:1:1: expected a map of keys at the top of the file, found nothing");
  CHECK(refusal("# only a comment\n") == "y.yaml:1:1: expected a map of keys at the top of the file, found nothing");
  CHECK(refusal("[1]") == "y.yaml:1:1: expected a map of keys at the top of the file, found a list");
  CHECK(refusal("word") == "y.yaml:1:1: expected a map of keys at the top of the file, found 'word'");
}

TEST_CASE("broken YAML names line and column, and where the broken part begins") {
  CHECK(refusal("a: 1\nb: [1, 2\n") ==
        "y.yaml:3:1: not valid YAML: end of sequence flow not found (in what begins at y.yaml:2:4)");
  CHECK(refusal("a: {b: 1\nc: 2") ==
        "y.yaml:2:2: not valid YAML: end of map flow not found (in what begins at y.yaml:1:4)");
  CHECK(refusal("a: 1\n b: 2\n") == "y.yaml:2:3: not valid YAML: illegal map value (in what begins at y.yaml:1:1)");
  for (const std::string glob : {"*", "*.mlp", "*none"}) {
    CHECK(refusal("match: " + glob).find("; a text that begins with * needs quotes") != std::string::npos);
  }
  CHECK(refusal("a: *none") ==
        "y.yaml:1:4: not valid YAML: the referenced anchor is not defined; a text that begins with * needs quotes"
        " (in what begins at y.yaml:1:1)");
  CHECK(refusal("{a: 1}}") == "y.yaml:1:7: not valid YAML: illegal flow end");
  CHECK(refusal("a: 1\n- b\n") == "y.yaml:2:1: not valid YAML: end of map not found (in what begins at y.yaml:1:1)");
}

TEST_CASE("a quote that is never closed swallows nothing") {
  for (const std::string quote : {"'", "\""}) {
    CHECK(refusal("a: 1\nm: " + quote + "abc\nseed: 3\n") ==
          "y.yaml:4:1: not valid YAML: a quote is never closed (in what begins at y.yaml:2:1)");
    CHECK(refusal("m: " + quote + "abc") ==
          "y.yaml:2:1: not valid YAML: a quote is never closed (in what begins at y.yaml:1:1)");
  }
}

TEST_CASE("a key twice is an error that names both places") {
  CHECK(refusal("a: 1\nb: 2\na: 3\n") == "y.yaml:3:1: a: this key stands twice, first at y.yaml:1:1; remove one");
  CHECK(refusal("q:\n  - {x: 1, x: 1}\n") ==
        "y.yaml:2:12: q[0].x: this key stands twice, first at y.yaml:2:6; remove one");
}

TEST_CASE("a key must be a plain text") {
  CHECK(refusal("~: 1") == "y.yaml:1:1: a key must be a plain text, found nothing");
  CHECK(refusal("? [a]\n: 1\n") ==
        "y.yaml:1:3: a key must be a plain text, found a list or a map; is a bracket left open?");
  CHECK(refusal("a: &x 1\n*x : 2\n") == "y.yaml:2:1: a key must be a plain text, found an alias");
  CHECK(written("\"quoted key\": 1\n4: 2\n&k anchored: *k\n") == R"({"quoted key":1,"4":2,"anchored":"anchored"})");
}

TEST_CASE("an alias is a copy") {
  const Config c = Config::parse("a: &x {k: 1, l: [2]}\nb: *x\n", "y.yaml");
  CHECK(c.json()["b"] == c.json()["a"]);
  CHECK(c.at("b").at("k").path() == "b.k");
  CHECK(c.at("b").at("k").where() == "y.yaml:1:11");
  CHECK(error_text([&] { check_all_read(c); }) == "y.yaml:1:1: a: unknown key; known keys: b");
}

TEST_CASE("merge keys are refused") {
  CHECK(refusal("a: &x {k: 1}\nb:\n  <<: *x\n") ==
        "y.yaml:3:3: merge keys (<<) are not supported; write the keys out or use include");
}

TEST_CASE("aliases cannot blow the tree up") {
  CHECK(refusal("a: &x [*x]") == "y.yaml:1:8: an alias inside of what it stands for");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string use = "*a" + std::to_string(i - 1);
    bomb += fmt::format("a{0}: &a{0} [{1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}]\n", i, use);
  }
  CHECK(refusal(bomb) == "y.yaml:5:45: more than 100000 values, aliases counted as copies");
}

TEST_CASE("nesting is bounded, through aliases too") {
  const auto nested = [](int levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  CHECK(refusal("a: " + nested(63)) == "(no error)");
  CHECK(refusal("a: " + nested(64)) == "y.yaml:1:67: nested deeper than 64 levels");
  CHECK(refusal("a: " + nested(100'000)) == "y.yaml:1:67: nested deeper than 64 levels");
  const auto alias_at = [&](int levels) {
    return "a: &x " + nested(40) + "\nb: " + std::string(levels, '[') + "*x" + std::string(levels, ']');
  };
  CHECK(refusal(alias_at(23)) == "(no error)");
  CHECK(refusal(alias_at(24)) == "y.yaml:2:28: nested deeper than 64 levels");
}

TEST_CASE("a long flat list counts every value") {
  std::string text = "a: [1";
  for (int i = 0; i < 100'000; ++i) text += ",1";
  CHECK(refusal(text + "]") == "y.yaml:1:200001: more than 100000 values, aliases counted as copies");
}

TEST_CASE("a file that is no text is refused at the first bad byte") {
  CHECK(refusal(std::string("a: 1\nb: \0", 9)) == "y.yaml:2:4: byte 0x00 is not UTF-8 text; is this a YAML file?");
  CHECK(refusal("a: caf\xE9") == "y.yaml:1:7: byte 0xe9 is not UTF-8 text; is this a YAML file?");
  CHECK(refusal("\x7F"
                "ELF\x02") == "y.yaml:1:5: byte 0x02 is not UTF-8 text; is this a YAML file?");
  CHECK(refusal("a: \xC0\x80") == "y.yaml:1:4: byte 0xc0 is not UTF-8 text; is this a YAML file?");  // overlong
  CHECK(refusal("a: \xE0\x80\x80") == "y.yaml:1:4: byte 0xe0 is not UTF-8 text; is this a YAML file?");
  CHECK(refusal("a: \xED\xA0\x80") == "y.yaml:1:4: byte 0xed is not UTF-8 text; is this a YAML file?");  // surrogate
  CHECK(refusal("a: \xF4\x90\x80\x80") == "y.yaml:1:4: byte 0xf4 is not UTF-8 text; is this a YAML file?");
  CHECK(refusal("a: \xE2\x82") == "y.yaml:1:4: byte 0xe2 is not UTF-8 text; is this a YAML file?");  // cut short
}

TEST_CASE("a config is one document") {
  CHECK(refusal("a: 1\n---\nb: 2\n") == "y.yaml:2:1: a second YAML document begins; a config is one document");
}

TEST_CASE("a file that is not there, a folder and a bad file are told apart") {
  const Scratch scratch;
  const std::string folder = scratch.folder().string();
  CHECK(load_refusal(folder + "/none.yaml") == folder + "/none.yaml: no such file");
  CHECK(load_refusal(folder) == folder + ": is a folder; name a YAML file");
  const std::string bad = scratch.write("bad.yaml", "a: 1\na: 2\n").string();
  CHECK(load_refusal(bad) == bad + ":2:1: a: this key stands twice, first at " + bad + ":1:1; remove one");
}

TEST_CASE("includes merge by key, later wins, the including file last") {
  const Scratch scratch;
  scratch.write("base/model.yaml", "model: {path: m, dtype: float32}\nseed: 1\nquant: [1, 2]\n");
  scratch.write("base/more.yaml", "include: model.yaml\nmodel:\n  dtype: bfloat16\n");
  scratch.write("data.yaml", "seed: 2\nextra: {a: 1}\n");
  const auto file = scratch.write(
      "exp/e.yaml", "include: [../base/more.yaml, ../data.yaml]\nquant: [3]\nextra: word\nmodel: {device: cpu}\n");
  const Config c = Config::load(file);
  CHECK(c.json().dump() ==
        R"({"model":{"path":"m","dtype":"bfloat16","device":"cpu"},"seed":2,"quant":[3],"extra":"word"})");
  const Config model = c.at("model");
  const std::string exp = (scratch.folder() / "exp").string();
  CHECK(model.at("path").where() == exp + "/../base/model.yaml:1:15");
  CHECK(model.at("dtype").where() == exp + "/../base/more.yaml:3:10");
  CHECK(model.at("device").where() == exp + "/e.yaml:4:17");
  CHECK(model.at("path").folder() == exp + "/../base");
  CHECK(model.where() == exp + "/e.yaml:4:8");
  CHECK(model.at("path").path() == "model.path");
}

TEST_CASE("one file may be included twice, along different ways") {
  const Scratch scratch;
  scratch.write("common.yaml", "a: 1\n");
  scratch.write("x.yaml", "include: common.yaml\nb: 1\n");
  CHECK(Config::load(scratch.write("e.yaml", "include: [common.yaml, x.yaml]\n")).json().dump() == R"({"a":1,"b":1})");
}

TEST_CASE("a bad include is refused at its place") {
  const Scratch scratch;
  const std::string folder = scratch.folder().string();
  SECTION("missing") {
    const std::string file = scratch.write("e.yaml", "include:\n  - none.yaml\n").string();
    CHECK(load_refusal(file) == file + ":2:5: include[0]: no such file '" + folder +
                                    "/none.yaml'; a path counts from the file that includes");
  }
  SECTION("a folder") {
    const std::string file = scratch.write("e.yaml", "include: .\n").string();
    CHECK(load_refusal(file) ==
          file + ":1:10: include: no such file '" + folder + "/.'; a path counts from the file that includes");
  }
  SECTION("a name no file can have") {
    const std::string name(5000, 'x');
    const std::string file = scratch.write("e.yaml", "include: " + name).string();
    CHECK(load_refusal(file) == file + ":1:10: include: no such file '" + folder + "/" + name +
                                    "'; a path counts from the file that includes");
  }
  SECTION("a cycle") {
    const std::string file = scratch.write("e.yaml", "include: f.yaml\n").string();
    scratch.write("f.yaml", "a: 1\ninclude: [./e.yaml]\n");
    CHECK(load_refusal(file) ==
          fmt::format("{0}/f.yaml:2:11: include[0]: a cycle: {0}/e.yaml -> {0}/f.yaml -> {0}/./e.yaml", folder));
  }
  SECTION("of itself") {
    const std::string file = scratch.write("e.yaml", "include: e.yaml\n").string();
    CHECK(load_refusal(file) == file + ":1:10: include: a cycle: " + file + " -> " + file);
  }
  SECTION("below the top") {
    const std::string file = scratch.write("e.yaml", "model:\n  include: f.yaml\n").string();
    CHECK(load_refusal(file) == file + ":2:3: model.include: include may only stand at the top of a file");
  }
  SECTION("no text") {
    const std::string file = scratch.write("e.yaml", "include: {a: b}\n").string();
    CHECK(load_refusal(file) == file + ":1:10: include: expected a text, found a map");
    const std::string empty = scratch.write("f.yaml", "include:\n").string();
    CHECK(load_refusal(empty) == empty + ":1:1: include: expected a text, found nothing");
  }
  SECTION("broken inside") {
    scratch.write("f.yaml", "[1]");
    const std::string file = scratch.write("e.yaml", "include: f.yaml\n").string();
    CHECK(load_refusal(file) == folder + "/f.yaml:1:1: expected a map of keys at the top of the file, found a list");
  }
}

TEST_CASE("overrides put YAML values at paths, in turn") {
  const Scratch scratch;
  const auto file =
      scratch.write("e.yaml", "windows: {length: 1, bos: true}\nquant: [{weight: {bits: 4}}]\nrope: {type: ntk}\n");
  const auto load = [&](const std::vector<std::string>& overrides) { return Config::load(file, overrides).json(); };
  CHECK(load({"windows.length=4096"})["windows"].dump() == R"({"length":4096,"bos":true})");
  CHECK(load({"quant=[]"})["quant"].dump() == "[]");
  CHECK(load({"rope={type: yarn, factor: 8}"})["rope"].dump() == R"({"type":"yarn","factor":8})");
  CHECK(load({"quant.0.weight.bits=3"})["quant"].dump() == R"([{"weight":{"bits":3}}])");
  CHECK(load({"quant[0].weight.bits=3"})["quant"].dump() == R"([{"weight":{"bits":3}}])");
  CHECK(load({"name=a=b"})["name"] == "a=b");
  CHECK(load({"a.b=1", "a.b=2", "a.c=3"})["a"].dump() == R"({"b":2,"c":3})");
  CHECK(load({"rope="})["rope"] == nullptr);
}

TEST_CASE("an override in error is named by its number and column") {
  const Scratch scratch;
  const auto file = scratch.write("e.yaml", "windows: {length: 1}\nquant: [1]\n");
  CHECK(load_refusal(file, {"windows.length"}) == "--set:1:1: 'windows.length' has no '='; write --set key=value");
  CHECK(load_refusal(file, {"a=1", "=4"}) ==
        "--set:2:1: '' is not a path of keys; write one such as windows.length or quant[0].weight.bits");
  CHECK(load_refusal(file, {"quant[3]=1"}) ==
        "--set:1:1: quant[3]: no such element; " + file.string() + ":2:8 is a list of 1 (the first is 0)");
  CHECK(load_refusal(file, {"rope={type: yarn"}) ==
        "--set:1:6: a key must be a plain text, found a list or a map; is a bracket left open?");
  CHECK(load_refusal(file, {"match=*none"}) ==
        "--set:1:7: not valid YAML: the referenced anchor is not defined; a text that begins with * needs quotes");
  CHECK(load_refusal(file, {"a={b: 1, b: 2}"}) ==
        "--set:1:10: b: this key stands twice, first at --set:1:4; remove one");

  const Config c = Config::load(file, {"seed=0", "windows.length=long"});
  CHECK(error_text([&] { c.section("windows").get<int64_t>("length"); }) ==
        "--set:2:16: windows.length: expected an integer, found 'long'");
  CHECK(c.section("windows").at("length").folder().empty());
}

TEST_CASE("an override of a key that nobody reads is an error") {
  const Scratch scratch;
  const Config c = Config::load(scratch.write("e.yaml", "{}"), {"windows.lenght=4096"});
  c.section("windows").get<int64_t>("length", 1);
  CHECK(error_text([&] { check_all_read(c); }) == "--set:1:1: windows.lenght: unknown key; did you mean 'length'?");
}

TEST_CASE("files that include each other many times, and trees that grow, are refused before they fill the memory") {
  const Scratch scratch;
  scratch.write("0.yaml", "a: 1\n");
  for (int i = 1; i <= 40; ++i) {
    const std::string before = std::to_string(i - 1) + ".yaml";
    scratch.write(std::to_string(i) + ".yaml", "include: [" + before + ", " + before + "]\n");
  }
  CHECK(
      contains(load_refusal(scratch.folder() / "40.yaml"), "more than 100 files are included, repeated ones counted"));
  std::string many = "a:\n";
  for (int i = 0; i < 60'000; ++i) many += "- 1\n";
  scratch.write("many.yaml", many);
  const auto twice = scratch.write("twice.yaml", "include: [many.yaml]\nb: 1\n" + many.replace(0, 1, "c"));
  CHECK(contains(load_refusal(twice), "more than 100000 values, those of all included files counted"));
}

TEST_CASE("long keys above many values, long texts behind many aliases and deep paths are refused") {
  const std::string key(120'000, 'k');
  std::string list = "? " + key + "\n: [0";  // YAML's long form: a plain key has at most 1024 characters
  for (int i = 0; i < 20'000; ++i) list += ", 0";
  CHECK(contains(refusal(list + "]"), "their paths take more than 256 MiB; shorten them"));
  std::string aliases = "a: &a " + key + "\nb: [*a";
  for (int i = 0; i < 20'000; ++i) aliases += ", *a";
  CHECK(contains(refusal(aliases + "]"), "more than 256 MiB, aliases counted as copies"));
  std::string path = "a";
  for (int i = 0; i < 100'000; ++i) path += ".a";
  const Scratch scratch;
  const auto file = scratch.write("e.yaml", "b: 1\n");
  CHECK(contains(load_refusal(file, {path + "=1"}), "a path of more than 64 keys"));
}

TEST_CASE("a file whose name is no text is refused, since results name it") {
  const Scratch scratch;
  CHECK(contains(load_refusal(scratch.write("caf\xE9.yaml", "a: 1\n")),
                 R"(caf\xe9.yaml: its name or its folder's is not UTF-8 text)"));
  CHECK(contains(load_refusal(scratch.write("\xFF/e.yaml", "a: 1\n")), "is not UTF-8 text"));
  CHECK(load_refusal(scratch.write("caf\xC3\xA9.yaml", "a: 1\n")) == "(no error)");
}

TEST_CASE("what is written as YAML reads back as the same, null and words that look like it included") {
  const Json value = Json::parse(R"({"a": null, "b": ["null", "~", "true", "1e3", "", null, 1.5, true, {}], "c": {}})");
  CHECK(Config::parse(to_yaml(value), "y.yaml").json().dump() == value.dump());
}
