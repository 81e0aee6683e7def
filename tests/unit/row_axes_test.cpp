// Which rows are compared along an axis.
#include "report/row_axes.h"

#include "support/catch.h"

namespace qroar {
namespace {

/// A row of a sweep over the given axes, whose `rope` and other configuration are given.
Json row_of(const char* id, const Json& axes, const Json& rope, const Json& more = Json::object()) {
  Json row{{"id", id}, {"status", "ok"}, {"axes", axes}, {"config", {{"rope", rope}}}};
  row["config"].update(more);
  return row;
}

/// The ids of the rows' baselines, "" where there is none.
std::vector<std::string> baselines(const std::vector<Json>& rows, const std::string& option) {
  std::vector<std::string> ids;
  for (const Json* row : find_baselines(rows, option)) ids.push_back(row == nullptr ? "" : (*row)["id"]);
  return ids;
}

TEST_CASE("keys that only some levels of an axis have are part of the level") {
  const auto at = [](const char* type) { return Json{{"rope.type", type}}; };
  const std::vector<Json> rows{
      row_of("none", at("none"), {{"type", "none"}}),
      row_of("ntk", at("ntk"), {{"type", "ntk"}, {"factor", 4}}),
      row_of("yarn", at("yarn"), {{"type", "yarn"}, {"factor", 4}, {"beta_fast", 32}}),
  };
  CHECK(baselines(rows, "rope.type=none") == std::vector<std::string>{"none", "none", "none"});
  CHECK(baselines(rows, "rope.type=yarn") == std::vector<std::string>{"yarn", "yarn", "yarn"});
}

TEST_CASE("another axis below the same key still tells rows apart") {
  const auto at = [](const char* type, int factor) { return Json{{"rope.type", type}, {"rope.factor", factor}}; };
  std::vector<Json> rows{row_of("none", {{"rope.type", "none"}}, {{"type", "none"}})};
  for (const auto& [id, type, factor] : {std::tuple{"ntk2", "ntk", 2}, {"ntk4", "ntk", 4}, {"yarn2", "yarn", 2}}) {
    rows.push_back(row_of(id, at(type, factor), {{"type", type}, {"factor", factor}}));
  }
  CHECK(baselines(rows, "rope.type=ntk") == std::vector<std::string>{"", "ntk2", "ntk4", "ntk2"});
}

TEST_CASE("a key with several values at one level tells rows apart, axis or not") {
  const auto at = [](const char* type) { return Json{{"rope.type", type}}; };
  const std::vector<Json> rows{
      row_of("none", at("none"), {{"type", "none"}}),
      row_of("ntk2", at("ntk"), {{"type", "ntk"}, {"factor", 2}}),
      row_of("ntk4", at("ntk"), {{"type", "ntk"}, {"factor", 4}}),
  };
  CHECK(baselines(rows, "rope.type=ntk") == std::vector<std::string>{"", "ntk2", "ntk4"});
}

TEST_CASE("a key that all levels have tells rows apart, and so does one beside another") {
  const auto at = [](const char* type) { return Json{{"rope.type", type}}; };
  const std::vector<Json> rows{
      row_of("a", at("ntk"), {{"type", "ntk"}, {"factor", 2}}, {{"kv", {{"type", "none"}}}}),
      row_of("b", at("yarn"), {{"type", "yarn"}, {"factor", 4}}, {{"kv", {{"type", "none"}}}}),
      row_of("c", at("yarn"), {{"type", "yarn"}, {"factor", 2}}, {{"kv", {{"type", "rtn"}, {"bits", 4}}}}),
      row_of("d", at("yarn"), {{"type", "yarn"}, {"factor", 2}}, {{"kv", {{"type", "none"}}}}),
  };
  CHECK(baselines(rows, "rope.type=ntk") == std::vector<std::string>{"a", "", "", "a"});
}

TEST_CASE("an axis below the compared one stays an axis, and a row without it is compared with all of its levels") {
  const auto at = [](const char* name, const Json& factor) {
    Json axes{{"rope", {{"name", name}}}};
    if (!factor.is_null()) axes["rope.factor"] = factor;
    return axes;
  };
  std::vector<Json> rows{row_of("none", at("none", {}), {{"type", "none"}, {"name", "none"}})};
  for (const auto& [id, name, factor] : {std::tuple{"ntk8", "ntk", 8}, {"ntk2", "ntk", 2}, {"yarn2", "yarn", 2}}) {
    rows.push_back(row_of(id, at(name, factor), {{"type", name}, {"name", name}, {"factor", factor}}));
  }
  CHECK(baselines(rows, "rope=ntk") == std::vector<std::string>{"", "ntk8", "ntk2", "ntk2"});
  CHECK(baselines(rows, "rope=none") == std::vector<std::string>(4, "none"));
}

TEST_CASE("of several rows that could be the baseline none is") {
  const Json axes{{"quant", "none"}}, other{{"quant", "w4"}};
  const std::vector<Json> rows{row_of("a", axes, "none", {{"quant", "none"}}),
                               row_of("b", axes, "none", {{"quant", "none"}}),
                               row_of("c", other, "none", {{"quant", "w4"}})};
  CHECK(baselines(rows, "quant=none") == std::vector<std::string>{"", "", ""});
}

TEST_CASE("a stride that follows from the length goes with it") {
  const auto windows = [](int length, int stride, const char* score, bool bos) {
    return Json{{"windows", {{"length", length}, {"stride", stride}, {"score", score}, {"bos", bos}}}};
  };
  CHECK(has_default_stride(windows(64, 64, "all", true)));
  CHECK(has_default_stride(windows(64, 63, "window", true)));
  CHECK(has_default_stride(windows(64, 64, "window", false)));
  CHECK_FALSE(has_default_stride(windows(64, 63, "all", true)));
  CHECK_FALSE(has_default_stride(Json::object()));
}

}  // namespace
}  // namespace qroar
