#include "config/sweep.h"

#include "support/catch.h"
#include "support/errors.h"

using namespace qroar;

namespace {

std::vector<SweepPoint> expand_text(const std::string& text) { return expand(Config::parse(text, "s.yaml")); }

std::string refusal(const std::string& text) {
  return error_text([&] { expand_text(text); });
}

std::string axes_of(const SweepPoint& point) {
  Json json = Json::object();
  for (const auto& [name, value] : point.axes) json[name] = value;
  return json.dump();
}

}  // namespace

TEST_CASE("without a sweep there is one point, without axes") {
  const auto points = expand_text("seed: 1\n");
  REQUIRE(points.size() == 1);
  CHECK(points[0].axes.empty());
  CHECK(points[0].origin == "s.yaml:1:1");
  CHECK(points[0].config.json().dump() == R"({"seed":1})");
}

TEST_CASE("a block is the product of its axes, the last one fastest") {
  const auto points = expand_text(
      "windows: {bos: true}\n"
      "sweep:\n"
      "  - rope: [{type: linear}, {type: yarn}]\n"
      "    windows.length: [4096, 8192]\n");
  REQUIRE(points.size() == 4);
  CHECK(axes_of(points[0]) == R"({"rope":{"type":"linear"},"windows.length":4096})");
  CHECK(axes_of(points[1]) == R"({"rope":{"type":"linear"},"windows.length":8192})");
  CHECK(axes_of(points[2]) == R"({"rope":{"type":"yarn"},"windows.length":4096})");
  CHECK(axes_of(points[3]) == R"({"rope":{"type":"yarn"},"windows.length":8192})");
  CHECK(points[3].config.json().dump() == R"({"windows":{"bos":true,"length":8192},"rope":{"type":"yarn"}})");
  CHECK(points[3].origin == "s.yaml:3:5");
}

TEST_CASE("blocks are a union: what two of them give is kept once, of the first") {
  const auto points = expand_text("sweep:\n  - a: [1, 2]\n  - a: [2, 3]\n  - {b: [1], a: [1.0]}\n");
  REQUIRE(points.size() == 4);
  CHECK(axes_of(points[1]) == R"({"a":2})");
  CHECK(points[1].origin == "s.yaml:2:5");
  CHECK(axes_of(points[2]) == R"({"a":3})");
  CHECK(points[2].origin == "s.yaml:3:5");
  CHECK(axes_of(points[3]) == R"({"b":1,"a":1.0})");
}

TEST_CASE("an axis may refine the value of one before it") {
  const auto points = expand_text("sweep: [{rope: [{type: yarn}], rope.factor: [2, 4]}]");
  REQUIRE(points.size() == 2);
  CHECK(points[1].config.json().dump() == R"({"rope":{"type":"yarn","factor":4}})");
}

TEST_CASE("an axis may set elements of a list") {
  const auto points = expand_text("quant: [{bits: 8}]\nsweep: [{\"quant[0].bits\": [3, 4]}]");
  REQUIRE(points.size() == 2);
  CHECK(points[0].config.json().dump() == R"({"quant":[{"bits":3}]})");
}

TEST_CASE("points are independent, and a bad value is found in the sweep block") {
  const auto points = expand_text("length: 1\nsweep:\n  - length: [2048,\n             long]\n");
  REQUIRE(points.size() == 2);
  CHECK(points[0].config.get<int64_t>("length") == 2048);
  CHECK(error_text([&] { points[1].config.get<int64_t>("length"); }) ==
        "s.yaml:4:14: length: expected an integer, found 'long'");
}

TEST_CASE("an axis that nobody reads is found in the sweep block") {
  const auto points = expand_text("sweep:\n  - windows.lenght: [2048]\n");
  points[0].config.section("windows").get<int64_t>("length", 1);
  CHECK(error_text([&] { check_all_read(points[0].config); }) ==
        "s.yaml:2:22: windows.lenght: unknown key; did you mean 'length'?");
}

TEST_CASE("a misspelled sweep is recognized") {
  const auto points = expand_text("sweeep: [{a: [1, 2]}]");
  CHECK(error_text([&] { check_all_read(points[0].config); }) ==
        "s.yaml:1:1: sweeep: unknown key; did you mean 'sweep'?");
}

TEST_CASE("a sweep of the wrong shape is refused at its place") {
  CHECK(refusal("sweep: []") == "s.yaml:1:8: sweep: an empty sweep; remove it or write a block");
  CHECK(refusal("sweep:\n") ==
        "s.yaml:1:1: sweep: expected a list of blocks, found nothing; write '- ' before each block");
  CHECK(refusal("sweep:\n  a: [1]\n") ==
        "s.yaml:2:3: sweep: expected a list of blocks, found a map; write '- ' before each block");
  CHECK(refusal("sweep: [3]") ==
        "s.yaml:1:9: sweep[0]: expected a map of axes, found '3'; write - key: [value, value]");
  CHECK(refusal("sweep: [{}]") == "s.yaml:1:9: sweep[0]: a block without axes; remove it or give it some");
  CHECK(refusal("sweep:\n  - windows.length: 4096\n") ==
        "s.yaml:2:21: sweep[0].windows.length: expected a list of values, found '4096'; write [value, value]");
  CHECK(refusal("sweep: [{a: []}]") == "s.yaml:1:13: sweep[0].a: an axis without values; remove it or give it some");
}

TEST_CASE("windows.lengths is an innermost axis of every block") {
  const auto lengths_of = [](const std::string& yaml) {
    std::vector<std::string> found;
    for (const SweepPoint& point : expand(Config::parse(yaml, "s.yaml"))) {
      CHECK_FALSE(point.config.at("windows").has("lengths"));
      found.push_back(Json(point.axes).dump() + point.config.at("windows").json().dump());
    }
    return found;
  };
  CHECK(lengths_of("windows: {lengths: [4, 8], bos: false}") ==
        std::vector<std::string>{R"([["windows.length",4]]{"bos":false,"length":4})",
                                 R"([["windows.length",8]]{"bos":false,"length":8})"});
  CHECK(lengths_of("windows: {lengths: [4, 8]}\nsweep: [{a: [1, 2]}]") ==
        std::vector<std::string>{
            R"([["a",1],["windows.length",4]]{"length":4})", R"([["a",1],["windows.length",8]]{"length":8})",
            R"([["a",2],["windows.length",4]]{"length":4})", R"([["a",2],["windows.length",8]]{"length":8})"});
  CHECK(refusal("windows: {lengths: [4, 8], length: 3}") ==
        "s.yaml:1:36: windows.length: is not read beside windows.lengths (s.yaml:1:20); write one of the two");
  CHECK(refusal("windows: {lengths: [4]}\nsweep: [{windows.length: [8]}]") ==
        "s.yaml:1:20: windows.lengths: the sweep has the axis windows.length already; write the lengths in one place");
  CHECK(refusal("windows: {lengths: 4}") ==
        "s.yaml:1:20: windows.lengths: expected a list of lengths; write [2048, 4096]");
  CHECK(refusal("windows: {lengths: [4, 4.0]}") ==
        "s.yaml:1:24: windows.lengths[1]: the same value as at s.yaml:1:21; each value of an axis once");
}

TEST_CASE("an axis that changes nothing is refused") {
  CHECK(refusal("sweep: [{a: [1, 2, 1]}]") ==
        "s.yaml:1:20: sweep[0].a[2]: the same value as at s.yaml:1:14; each value of an axis once");
  CHECK(refusal("sweep: [{a: [4, 4.0]}]") ==
        "s.yaml:1:17: sweep[0].a[1]: the same value as at s.yaml:1:14; each value of an axis once");
  CHECK(refusal("sweep: [{a: [{x: 1, y: 2}, {y: 2, x: 1}]}]") ==
        "s.yaml:1:28: sweep[0].a[1]: the same value as at s.yaml:1:14; each value of an axis once");
  CHECK(refusal("sweep:\n  - rope.factor: [2, 4]\n    rope: [{type: yarn}]\n") ==
        "s.yaml:3:5: sweep[0].rope: overwrites the axis 'rope.factor' before it; write it first");
  CHECK(refusal("quant: [1]\nsweep: [{\"quant[0]\": [1], quant.0: [2]}]") ==
        "s.yaml:2:27: sweep[0].quant.0: overwrites the axis 'quant[0]' before it; write it first");
  CHECK(refusal("sweep: [{rope: [{factor: 1}, {factor: 2}], rope.factor: [4]}]") ==
        "s.yaml:1:9: sweep[0]: two points of this block are equal: an axis changes nothing");
}

TEST_CASE("an axis that leads nowhere is refused at its value") {
  CHECK(refusal("rope: yarn\nsweep: [{rope.factor: [2]}]") ==
        "s.yaml:2:24: rope.factor: no such place; 'yarn' at s.yaml:1:7 has no keys");
  CHECK(refusal("sweep: [{a..b: [2]}]") ==
        "s.yaml:1:10: 'a..b' is not a path of keys; write one such as windows.length or quant[0].weight.bits");
}

TEST_CASE("a product of more than 100,000 points is refused before it is made") {
  std::string values = "[0";
  for (int i = 1; i < 400; ++i) values += ", " + std::to_string(i);
  values += "]";
  CHECK(refusal("sweep: [{a: " + values + ", b: " + values + "}]") ==
        "s.yaml:1:9: sweep[0]: more than 100000 points in one block; split it");
}

TEST_CASE("the points of all blocks together are bounded, in number and in size") {
  std::string list = "[0";
  for (int i = 1; i < 400; ++i) list += "," + std::to_string(i);
  const std::string axes = "a: " + list + "], b: " + list.substr(0, list.find(",200")) + "]";  // 80,000 points
  CHECK(
      contains(error_text([&] { expand(Config::parse("sweep: [{" + axes + "}, {c: [1], " + axes + "}]", "s.yaml")); }),
               "more than 100000 points, or 4 GiB of them"));
  std::string large = "x: [0";
  for (int i = 0; i < 50'000; ++i) large += ",0";
  CHECK(contains(error_text([&] { expand(Config::parse(large + "]\nsweep: [{a: " + list + "]}]", "s.yaml")); }),
                 "s.yaml:2:9: sweep[0]: more than 100000 points, or 4 GiB of them"));
}
