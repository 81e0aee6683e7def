// What other tools' formats call a task, from the metrics and the configuration of a row.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"

namespace qroar {

/// A task of a row, or its text, with the metrics that a row has of it.
struct FieldTask {
  Json config;                                               ///< the block of `tasks`, or `data`
  std::vector<std::pair<std::string, const Json*>> metrics;  ///< "acc", and the row's entry
  bool is_text = false;
};

/// Throws an Error where the row lacks what the formats state, as one of an older version may.
void check_stated(const Json& row);

/// Returns the tasks of a row by name; the row must outlive them.  Throws an Error where its configuration has none.
std::map<std::string, FieldTask> tasks_of(const Json& row);

/// Returns whether more is better: accuracies and agreements; losses, divergences and counts of what was cut are not.
bool higher_is_better(const std::string& metric);

/// Returns the number of the program's version, such as "0.1.0".
std::string version_of(const Json& row);

/// Returns a time such as "2026-11-28T04:53:35.115Z" in seconds since 1970; 0 where it is none.
double seconds_of(const std::string& time);

}  // namespace qroar
