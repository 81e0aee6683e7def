// Rows in the formats of other tools of the field, JSON Lines with one object a row.
#pragma once
#include <string>
#include <vector>

#include "results/results.h"

namespace qroar {

/// Returns what lm-evaluation-harness 0.4.13 returns of a run with --log_samples (lm_eval/result_schema.py): results,
/// configs, versions, n-shot, higher_is_better, n-samples, config, and samples.  A text is a task by the name of its
/// file, whose samples are documents; a sample's `doc` has the question's id, since questions are not kept.  95 %
/// intervals, for which that format has no place, stand under `intervals`: {TASK: {METRIC: [low, high]}}.
/// `rows`: cells, not means over draws.
std::string lm_eval_text(const Results& results, const std::vector<Json>& rows);

/// Returns the records of Every Eval Ever (schema 0.3.0, github.com/evaleval/every_eval_ever): every metric of a row,
/// or of its mean over draws, with standard error and 95 % interval.  A value beyond a double is left out.
std::string eee_text(const std::vector<Json>& rows);

}  // namespace qroar
