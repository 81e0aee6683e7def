#include "base/json.h"

#include <cmath>
#include <ctime>
#include <limits>

#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {
namespace {

Json parsed(const std::string& text) { return parse_json_object(text, {"f.json"}); }

std::string refusal(const std::string& text) {
  return error_text([&] { parse_json_object(text, {"f.json", 7, "mend it"}); });
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

/// An object of so many members, each an object itself.
std::string members(int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i)
    text += fmt::format(R"({}"model.layers.{}.weight":{{"shape":[1,2],"n":{}}})", i > 0 ? "," : "", i, i);
  return text + "}";
}

/// The shortest processor time of three readings, on which other processes have the least influence.
double seconds_of(const std::string& text) {
  double shortest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 3; ++i) {
    const std::clock_t before = std::clock();
    parsed(text);
    shortest = std::min(shortest, static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC);
  }
  return shortest;
}

TEST_CASE("an object is read as the library itself reads it, in the order of its keys") {
  const std::string text = R"({"z": [1, -2, 3.5, 18446744073709551615, 1e-400], "a": {"": null, "b": [true, false, {}]},
    "text": "\u00e9\ud83d\ude00\n", "empty": [], "deep": )" +
                           nested(63) + "}";
  CHECK(parsed(text) == Json::parse(text));
  CHECK(parsed(text).dump() == Json::parse(text).dump());
  CHECK(parsed(members(300)).dump() == Json::parse(members(300)).dump());
}

TEST_CASE("what is not valid JSON is one line with file, line, column and remedy") {
  CHECK(refusal("{\"a\": 1,\n \"b\": }") ==
        "f.json:8:7: broken JSON: unexpected '}'; expected '[', '{', or a literal; mend it");
  CHECK(contains(refusal("{\"a\": 1"), "f.json:7:"));
  CHECK(contains(refusal(""), "f.json:7:1: broken JSON"));
  CHECK(contains(refusal("{} {}"), "f.json:7:4: broken JSON"));
  CHECK(contains(refusal("{\"a\": NaN}"), "f.json:7:7: broken JSON"));
  CHECK(contains(refusal(std::string("{\"a\": \"\0\"}", 10)), "f.json:7:8: broken JSON"));
  CHECK(contains(refusal("{\"a\": \"\xff\"}"), "f.json:7:8: broken JSON"));
  CHECK(contains(refusal(R"({"a": "\ud800"})"), "half of a surrogate pair"));
  CHECK(refusal("[1]") == "f.json:7:1: is a JSON array, not an object; mend it");
  CHECK(refusal("12") == "f.json:7:2: is a JSON number, not an object; mend it");
  CHECK(refusal(R"({"a": {"b": 1, "c": 2, "b": 3}})") == "f.json:7:26: the key \"b\" stands twice; mend it");
  // Many keys are looked up in another way than few: the last of them once more.
  const std::string many = members(40);
  CHECK(contains(refusal(many.substr(0, many.size() - 1) + R"(,"model.layers.39.weight":1})"), "stands twice"));
  CHECK(contains(refusal(many.substr(0, many.size() - 1) + R"(,"model.layers.0.weight":1})"), "stands twice"));
  CHECK(refusal(R"({"a": 1e999})") == "f.json:7:12: the number 1e999 is beyond what double holds; mend it");
  CHECK(refusal(R"({"a": -1e999})") == "f.json:7:13: the number -1e999 is beyond what double holds; mend it");
  for (const std::string& long_one : {"{\"" + std::string(1'000'000, 'k') + "\" 1}", std::string(1'000'000, '1')})
    CHECK(refusal(long_one).size() < 300);
}

TEST_CASE("nesting is limited, whatever the size of the text") {
  const std::string too_deep = "objects and lists in each other more than 64 deep";
  CHECK(contains(refusal("{\"a\": " + nested(64) + "}"), too_deep));
  CHECK(contains(refusal("{\"a\": " + nested(200'000) + "}"), too_deep));
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += "{\"a\":";
  CHECK(contains(refusal(objects), too_deep));
}

TEST_CASE("the time is linear in the number of members, whatever their keys") {
  // The library's builder with a callback and its ordered objects take 100 times as long for ten times as many.
  const double few = seconds_of(members(4'000)), many = seconds_of(members(40'000));
  CHECK(many < 30 * std::max(few, 1e-4));
}

TEST_CASE("a damaged, missing or unreadable file says nothing where that is asked for") {
  const Scratch scratch;
  const auto file = scratch.write("x.json", R"({"a": {"b": [10, 20]}})");
  CHECK(try_read_json_object(file) == read_json_object(file));
  CHECK(value_at(read_json_object(file), "/a/b/1") == 20);
  CHECK(value_at(read_json_object(file), "/a/c").is_null());
  CHECK(value_at(read_json_object(file), "/a/b/x").is_null());
  CHECK(value_at(read_json_object(file), "/a/b/1/z").is_null());
  CHECK(try_read_json_object(scratch.write("y.json", "{")) == std::nullopt);
  CHECK(try_read_json_object(scratch.folder() / "none.json") == std::nullopt);
  CHECK(try_read_json_object(scratch.folder()) == std::nullopt);
}

TEST_CASE("a slip of ours with a value from a file is an internal error and no abort") {
  const Json value = parsed(R"({"a": 1})");
  CHECK_THROWS_AS(value["b"], InternalError);
}

TEST_CASE("an excerpt is one line of limited length in valid UTF-8") {
  CHECK(excerpt(Json("a\nb\x1b")) == R"("a\nb\u001b")");
  const std::string cut = excerpt(Json(std::string(98, 'x') + "\u00e9\u00e9\u00e9"));
  CHECK(cut == "\"" + std::string(98, 'x') + "...");
}

}  // namespace
}  // namespace qroar
