// The tree: reading values, the account of what was read, resolved(), and every message with its place.
#include "config/config.h"

#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

using namespace qroar;

namespace {

Config parse(const std::string& text) { return Config::parse(text, "c.yaml"); }

/// The message of reading key `v` as T.
template <class T>
std::string reading(const std::string& value) {
  return error_text([&] { parse("v: " + value).get<T>("v"); });
}

}  // namespace

TEST_CASE("scalars convert when the whole text does") {
  const Config c = parse("{i: 4096, z: 010, n: -3, d: 1e-3, w: 4, t: true, f: false, s: plain text, q: \"4\"}");
  CHECK(c.get<int64_t>("i") == 4096);
  CHECK(c.get<int64_t>("z") == 10);
  CHECK(c.get<int64_t>("n") == -3);
  CHECK(c.get<double>("d") == 1e-3);
  CHECK(c.get<double>("w") == 4.0);
  CHECK(c.get<bool>("t"));
  CHECK_FALSE(c.get<bool>("f"));
  CHECK(c.get<std::string>("s") == "plain text");
  CHECK(c.get<std::string>("q") == "4");
  CHECK(c.get<std::string>("i") == "4096");
}

TEST_CASE("a scalar of the wrong kind says what was expected and found") {
  const std::string place = "c.yaml:1:4: v: ";
  CHECK(reading<int64_t>("abc") == place + "expected an integer, found 'abc'");
  CHECK(reading<int64_t>("4.0") == place + "expected an integer, found '4.0'");
  CHECK(reading<int64_t>("4k") == place + "expected an integer, found '4k'");
  CHECK(reading<int64_t>("0x10") == place + "expected an integer, found '0x10'");
  CHECK(reading<int64_t>("\"4\"") == place + "expected an integer, found \"4\" in quotes");
  CHECK(reading<int64_t>("99999999999999999999") == place + "'99999999999999999999' is beyond the range of 64 bits");
  CHECK(reading<double>("1e999") == place + "'1e999' is beyond the range of 64 bits");
  CHECK(reading<double>("fast") == place + "expected a number, found 'fast'");
  CHECK(reading<double>("nan") == place + "expected a number, found 'nan'");
  CHECK(reading<double>("-inf") == place + "expected a number, found '-inf'");
  CHECK(reading<double>("'1.5'") == place + "expected a number, found \"1.5\" in quotes");
  CHECK(reading<bool>("yes") == place + "expected true or false, found 'yes'");
  CHECK(reading<bool>("True") == place + "expected true or false, found 'True'");
  CHECK(reading<bool>("1") == place + "expected true or false, found '1'");
  CHECK(reading<bool>("\"true\"") == place + "expected true or false, found \"true\" in quotes");
  CHECK(reading<std::string>("[a]") == place + "expected a text, found a list");
  CHECK(reading<std::string>("{a: 1}") == place + "expected a text, found a map");
  CHECK(reading<int64_t>("\"two\\nlines\"") == place + "expected an integer, found \"two\\nlines\" in quotes");
}

TEST_CASE("an empty value is there, but is nothing") {
  const Config c = parse("a:\nb: ~\nc: null\nd: \"\"\n");
  for (const char* key : {"a", "b", "c"}) {
    CHECK(c.has(key));
    CHECK(c.at(key).kind() == Config::Kind::null);
    CHECK(c.at(key).json() == nullptr);
  }
  CHECK(c.get<std::string>("d").empty());
  CHECK(error_text([&] { c.get<int64_t>("a"); }) == "c.yaml:1:1: a: expected an integer, found nothing");
  CHECK(error_text([&] { c.get<std::string>("b"); }) == "c.yaml:2:1: b: expected a text, found nothing");
}

TEST_CASE("lists of scalars convert element by element") {
  const Config c = parse("i: [1, 2]\nd: [1, 2.5]\nb: [true, false]\ns: [a, \"1\"]\ne: []\nbad:\n  - 1\n  - x\n");
  CHECK(c.get<std::vector<int64_t>>("i") == std::vector<int64_t>{1, 2});
  CHECK(c.get<std::vector<double>>("d") == std::vector<double>{1.0, 2.5});
  CHECK(c.get<std::vector<bool>>("b") == std::vector<bool>{true, false});
  CHECK(c.get<std::vector<std::string>>("s") == std::vector<std::string>{"a", "1"});
  CHECK(c.get<std::vector<double>>("e").empty());
  CHECK(c.get<std::vector<int64_t>>("none", {7}) == std::vector<int64_t>{7});
  CHECK(error_text([&] { c.get<std::vector<int64_t>>("bad"); }) ==
        "c.yaml:8:5: bad[1]: expected an integer, found 'x'");
  CHECK(error_text([&] { parse("v: 3").get<std::vector<int64_t>>("v"); }) ==
        "c.yaml:1:4: v: expected a list, found '3'");
}

TEST_CASE("a number outside its bounds names them") {
  const Config c = parse("bits: 9\nfactor: 0.5\nlow: -1\n");
  CHECK(error_text([&] {
          c.get<int64_t>("bits", 4, {2, 8});
        }) == "c.yaml:1:7: bits: expected a number from 2 to 8, found 9");
  CHECK(error_text([&] { c.get<double>("factor", 1.0, {.low = 1.0}); }) ==
        "c.yaml:2:9: factor: expected a number of at least 1.0, found 0.5");
  CHECK(error_text([&] { c.get<int64_t>("low", 0, {.low = 0}); }) ==
        "c.yaml:3:6: low: expected a number of at least 0, found -1");
  CHECK(error_text([&] { c.get<int64_t>("bits", 4, {.high = 8}); }) ==
        "c.yaml:1:7: bits: expected a number of at most 8, found 9");
  CHECK(c.get<int64_t>("bits", 4, {2, 9}) == 9);
  CHECK(c.get<int64_t>("absent", 4, {2, 9}) == 4);
}

TEST_CASE("a name is read once and is no part of what is resolved") {
  const Config c = parse(
      "a: {name: Short, size: 4}\nb: {name: 'a name of twenty-five ch.'}\nc: {name: [x]}\nd: {name: ''}\ne: {}\n"
      "f: {name: \"a\\u202eb\"}\n");
  CHECK(c.at("a").get<int64_t>("size") == 4);
  c.at("a").read_name();
  c.at("e").read_name();
  CHECK(c.resolved()["a"].dump() == R"({"size":4})");
  for (const char* key : {"b", "c", "d", "f"}) CHECK_THROWS_AS(c.at(key).read_name(), Error);
  CHECK(error_text([&] { c.at("b").read_name(); }) ==
        "c.yaml:2:11: b.name: names this in figures; write 1 to 24 characters");
  CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:2:5: b.name: unknown key; no keys are known here");
}

TEST_CASE("a name that was read as a value stays one") {
  const Config c = parse("{name: questions, size: 4}");
  CHECK(c.get<std::string>("name") == "questions");
  c.read_name();
  CHECK(c.resolved()["name"] == "questions");
}

TEST_CASE("a choice is one of a fixed set") {
  enum class Score { all, last };
  const std::vector<std::pair<std::string, Score>> choices{{"all", Score::all}, {"last", Score::last}};
  const Config c = parse("score: last\nnear: lsat\nfar: everything\n");
  CHECK(c.get_choice("score", Score::all, choices) == Score::last);
  CHECK(c.get_choice("absent", Score::all, choices) == Score::all);
  CHECK(c.resolved()["absent"] == "all");
  CHECK(error_text([&] { c.get_choice("near", Score::all, choices); }) ==
        "c.yaml:2:7: near: unknown 'lsat'; did you mean 'last'? known: all, last");
  CHECK(error_text([&] { c.get_choice("far", Score::all, choices); }) ==
        "c.yaml:3:6: far: unknown 'everything'; known: all, last");
}

TEST_CASE("a missing key is named, and the key that was probably meant") {
  const Config c = parse("a: 1\nwindows:\n  lenght: 4\n");
  CHECK(error_text([&] { c.get<int64_t>("seed"); }) == "c.yaml:1:1: seed: missing");
  CHECK(error_text([&] { c.at("windows").get<int64_t>("length"); }) ==
        "c.yaml:3:3: windows.length: missing; did you misspell it as 'lenght'?");
}

TEST_CASE("a key of what is no map is an error") {
  const Config c = parse("rope: yarn\nempty:\n");
  CHECK(error_text([&] { c.at("rope").has("type"); }) == "c.yaml:1:7: rope: expected a map, found 'yarn'");
  CHECK(error_text([&] { c.at("rope").at("type"); }) == "c.yaml:1:7: rope: expected a map, found 'yarn'");
  CHECK(error_text([&] { c.section("rope"); }) == "c.yaml:1:7: rope: expected a map, found 'yarn'");
  CHECK(error_text([&] { c.section("empty"); }) == "c.yaml:2:1: empty: expected a map, found nothing");
  CHECK(error_text([&] { c.items(); }) == "c.yaml:1:1: expected a list, found a map");
}

TEST_CASE("every value knows its path and place") {
  const Config c = parse("quant:\n  - {match: \"*\", weight: {bits: 4}}\n  - weight:\n      bits: 3\n");
  const auto rules = c.at("quant").items();
  REQUIRE(rules.size() == 2);
  CHECK(c.path().empty());
  CHECK(rules[0].at("weight").at("bits").path() == "quant[0].weight.bits");
  CHECK(rules[0].at("weight").at("bits").where() == "c.yaml:2:33");
  CHECK(rules[1].at("weight").at("bits").where() == "c.yaml:4:13");
  CHECK(error_text([&] { rules[1].at("weight").fail("is heavy"); }) == "c.yaml:4:7: quant[1].weight: is heavy");
  CHECK(error_text([&] { c.fail("is odd"); }) == "c.yaml:1:1: is odd");
}

TEST_CASE("a key nobody read is an error at its place") {
  SECTION("near to one that was asked for") {
    const Config c = parse("seed: 1\nwindows:\n  lenght: 4096\n  bos: true\n");
    c.get<int64_t>("seed");
    const Config windows = c.section("windows");
    windows.get<int64_t>("length", 2048);
    windows.get<bool>("bos", false);
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:3:3: windows.lenght: unknown key; did you mean 'length'?");
  }
  SECTION("near only to one that is there, too") {
    const Config c = parse("{bits: 4, bit: 3}");
    c.get<int64_t>("bits");
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:1:11: bit: unknown key; known keys: bits");
  }
  SECTION("near to none") {
    const Config c = parse("seed: 1\ncolour: blue\n");
    c.get<int64_t>("seed");
    c.has("windows");
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:2:1: colour: unknown key; known keys: seed, windows");
  }
  SECTION("where nothing was asked for") {
    const Config c = parse("rope: {factor: 2}");
    c.section("rope");
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:1:8: rope.factor: unknown key; no keys are known here");
  }
  SECTION("of a whole subtree, named at its top") {
    const Config c = parse("a: 1\nb:\n  c: {d: 2}\n");
    c.get<int64_t>("a");
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:2:1: b: unknown key; known keys: a");
  }
  SECTION("inside of a list") {
    const Config c = parse("quant:\n  - {bits: 4}\n  - {bits: 3, grup: 64}\n");
    for (const Config& rule : c.items("quant")) {
      rule.get<int64_t>("bits");
      rule.has("group");
    }
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:3:15: quant[1].grup: unknown key; did you mean 'group'?");
  }
  SECTION("as an element of a list that nobody went through") {
    const Config c = parse("metrics: [a]");
    c.at("metrics");
    CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:1:11: metrics[0]: nothing reads this element; remove it");
  }
}

TEST_CASE("a tree that was read in full passes") {
  const Config c = parse("{a: 1, b: [x, y], c: {d: ~}, e: {}, f: []}");
  c.get<int64_t>("a");
  c.get<std::vector<std::string>>("b");
  c.section("c").at("d");
  c.section("e");
  c.items("f");
  CHECK_NOTHROW(check_all_read(c));
}

TEST_CASE("has() reads nothing") {
  const Config c = parse("a: 1");
  CHECK(c.has("a"));
  CHECK(error_text([&] { check_all_read(c); }) == "c.yaml:1:1: a: unknown key; known keys: a");
  CHECK(c.resolved() == Json::object());
}

TEST_CASE("nearest counts a swap as one step and proposes nothing far away") {
  const std::vector<std::string> names{"linear", "none", "ntk_by_parts", "yarn"};
  CHECK(nearest("yran", names) == "yarn");
  CHECK(nearest("YaRN", names) == "yarn");
  CHECK(nearest("liner", names) == "linear");
  CHECK(nearest("ntk-by-parts", names) == "ntk_by_parts");
  CHECK(nearest("nome", names) == "none");
  CHECK(nearest("nf4", names).empty());
  CHECK(nearest("a", {"b"}).empty());
  CHECK(nearest("", names).empty());
  CHECK(nearest("yarn", {}).empty());
  CHECK(nearest("bita", {"bits", "bitb"}) == "bits");  // of equals, the first
  CHECK(nearest("lengths", {"lengthy", "length"}) == "lengthy");
}

TEST_CASE("json() is what was written, with the types of YAML") {
  const Config c = parse("z: 4\na: [1.5, true, no, ~, \"4\", 010]\nm: {b: 1e3, a: inf, h: 0x10}\n");
  CHECK(c.json().dump() == R"({"z":4,"a":[1.5,true,"no",null,"4",10],"m":{"b":1000.0,"a":"inf","h":"0x10"}})");
}

TEST_CASE("resolved() holds what was read as what it was read, and the defaults") {
  const Config c = parse("{z: 4, factor: 8, name: 3, unread: 1, m: {k: true}, l: [1, 2], raw: 5}");
  c.get<int64_t>("z");
  c.get<double>("factor");
  c.get<std::string>("name");
  c.section("m").get<bool>("k");
  c.get<std::vector<double>>("l");
  c.get<int64_t>("seed", 0);
  c.section("kv").get<std::string>("type", "none");
  c.items("quant");
  c.at("raw");
  CHECK(c.resolved().dump() == R"({"factor":8.0,"kv":{"type":"none"},"l":[1.0,2.0],"m":{"k":true},"name":"3",)"
                               R"("quant":[],"raw":5,"seed":0,"z":4})");
}

TEST_CASE("a value looked at as a text and read as a number counts as the number, in either order") {
  const Config first = parse("factor: 8");
  first.get<std::string>("factor");
  first.get<double>("factor");
  const Config second = parse("factor: 8");
  second.get<double>("factor");
  second.get<std::string>("factor");
  CHECK(first.resolved().dump() == R"({"factor":8.0})");
  CHECK(second.resolved().dump() == R"({"factor":8.0})");
}

TEST_CASE("resolved() is the same for any order of keys, any spelling of numbers and defaults written out") {
  const auto resolve = [](const std::string& text) {
    const Config c = parse(text);
    const Config windows = c.section("windows");
    windows.get<int64_t>("length", 4096);
    windows.get<bool>("bos", true);
    c.section("rope").get<double>("factor", 4.0);
    for (const Config& rule : c.items("quant")) rule.get<int64_t>("bits", 4);
    c.get<std::vector<std::string>>("metrics", {"perplexity"});
    check_all_read(c);
    return c.resolved().dump();
  };
  const std::string defaults = resolve("{}");
  for (const char* text :
       {"windows: {}", "windows: {length: 4096}", "rope: {factor: 4}\nwindows: {bos: true, length: 04096}", "quant: []",
        "rope: {factor: 4e0}", "metrics: [perplexity]", "metrics: [\"perplexity\"]\nrope: {}"}) {
    CHECK(resolve(text) == defaults);
  }
  CHECK(resolve("rope: {factor: 8}") != defaults);
  CHECK(resolve("quant: [{}]") != defaults);
  CHECK(resolve("quant: [{}]") == resolve("quant: [{bits: 4}]"));
  CHECK(resolve("metrics: []") != defaults);
}

TEST_CASE("as_path counts from the working directory when something is there, else from the file") {
  const Scratch scratch;
  const auto file = scratch.write("exp/a.yaml", "here: tokenizer.model\nabsolute: /none/x\nempty: ''\nlist: []\n");
  const auto cwd = scratch.write("cwd/other.txt", "").parent_path();
  const Config c = Config::load(file);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(cwd);
  const auto from_file = c.at("here").as_path();
  scratch.write("cwd/tokenizer.model", "");
  const auto from_working_directory = c.at("here").as_path();
  std::filesystem::current_path(before);
  CHECK(from_file == scratch.folder() / "exp" / "tokenizer.model");
  CHECK(from_working_directory == "tokenizer.model");
  CHECK(c.at("absolute").as_path() == "/none/x");
  CHECK(c.at("here").folder() == scratch.folder() / "exp");
  CHECK(c.resolved()["here"] == "tokenizer.model");
  CHECK(error_text([&] { c.at("empty").as_path(); }) ==
        file.string() + ":3:8: empty: expected a path, found an empty text");
  CHECK(error_text([&] { c.at("list").as_path(); }) == file.string() + ":4:7: list: expected a text, found a list");
}

TEST_CASE("with() puts a value into an independent tree that nobody has read") {
  const Config c = parse("windows: {length: 1}\nquant: [{bits: 4}, {bits: 3}]\nempty:\n");
  c.section("windows").get<int64_t>("length");
  const Config value = parse("new: 2").at("new");
  CHECK(c.with("windows.length", value).json()["windows"]["length"] == 2);
  CHECK(c.with("windows.stride", value).json()["windows"].dump() == R"({"length":1,"stride":2})");
  CHECK(c.with("quant[1].bits", value).json()["quant"].dump() == R"([{"bits":4},{"bits":2}])");
  CHECK(c.with("quant.0.bits", value).json()["quant"].dump() == R"([{"bits":2},{"bits":3}])");
  CHECK(c.with("quant[0]", value).json()["quant"].dump() == R"([2,{"bits":3}])");
  CHECK(c.with("a.b.c", value).json()["a"].dump() == R"({"b":{"c":2}})");
  CHECK(c.with("empty.x", value).json()["empty"].dump() == R"({"x":2})");
  CHECK(c.json()["windows"]["length"] == 1);

  const Config changed = c.with("windows.length", value);
  CHECK(changed.section("windows").at("length").path() == "windows.length");
  CHECK(changed.section("windows").at("length").where() == "c.yaml:1:6");
  CHECK(error_text([&] { check_all_read(c.with("a.b", value)); }) ==
        "c.yaml:1:1: windows: unknown key; no keys are known here");
  const auto rules = c.with("quant[1].bits", value).items("quant");
  CHECK(rules[1].at("bits").path() == "quant[1].bits");
}

TEST_CASE("with() refuses a path that leads nowhere, at the place of the value") {
  const Config c = parse("rope: yarn\nquant: [{bits: 4}]\n");
  const Config value = Config::parse("v: 2", "v.yaml").at("v");
  const auto text = [&](const std::string& path) { return error_text([&] { c.with(path, value); }); };
  CHECK(text("rope.factor") == "v.yaml:1:1: rope.factor: no such place; 'yarn' at c.yaml:1:7 has no keys");
  CHECK(text("quant[1].bits") ==
        "v.yaml:1:1: quant[1].bits: no such element; c.yaml:2:8 is a list of 1 (the first is 0)");
  CHECK(text("quant.bits") == "v.yaml:1:1: quant.bits: no such element; c.yaml:2:8 is a list of 1 (the first is 0)");
  for (const std::string path : {"", ".", "a..b", "a.", "[0]", "a[", "a[x]", "a[]", "a[0]b", "a.[0]"}) {
    CHECK(text(path) == "v.yaml:1:1: '" + path +
                            "' is not a path of keys; write one such as windows.length or "
                            "quant[0].weight.bits");
  }
}

TEST_CASE("without() leaves a key out of an independent tree") {
  const Config c = parse("a: 1\nb: 2\n");
  CHECK(c.without("a").json().dump() == R"({"b":2})");
  CHECK(c.without("none").json() == c.json());
  CHECK(c.json().dump() == R"({"a":1,"b":2})");
}
