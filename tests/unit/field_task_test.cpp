// The tasks that other tools' formats see in a row.
#include "report/field_task.h"

#include "support/catch.h"

namespace qroar {

TEST_CASE("a text that is called as a task is stands beside it under another name") {
  Json row{{"id", "a"}, {"config", {{"data", {{"path", "d/bench.jsonl"}}}, {"tasks", {{{"path", "t/bench.jsonl"}}}}}}};
  row["metrics"] = {{"nll", {{"value", 3}}}, {"bench/acc", {{"value", 0.5}}}};
  const auto tasks = tasks_of(row);
  REQUIRE(tasks.size() == 2);
  CHECK_FALSE(tasks.at("bench").is_text);
  CHECK(tasks.at("bench").config["path"] == "t/bench.jsonl");
  CHECK(tasks.at("bench (text)").is_text);
  CHECK(tasks.at("bench (text)").config["path"] == "d/bench.jsonl");
}

}  // namespace qroar
