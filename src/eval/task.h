// The interface of a task: questions with answers, in addition to windows of text.  Its table becomes
// cells/<id>/tasks/<name>.csv, and its values become the row's metrics <name>/<value>.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/csv.h"
#include "config/registry.h"
#include "data/tokenizer.h"
#include "eval/metric.h"
#include "eval/parts.h"
#include "model/decode.h"

namespace qroar {

/// What a task may use of a cell.
struct TaskInput {
  const Llama& model;
  const AnglesOf& angles_of;
  const TableOf& table_of;
  bool bfloat16_rope;
  const Tokenizer& tokenizer;
  int64_t window;  ///< windows.length: the maximum number of tokens of a prompt with its answer
  const std::function<void(double done)>& report;  ///< called with the fraction that is done, 0..1
  PartStore& parts;                                ///< under answer_part()
};

struct TaskResult {
  std::vector<MetricValue> values;
  CsvTable items;  ///< one line per question
};

class Task {
 public:
  static constexpr const char* kKind = "task";
  virtual ~Task() = default;

  /// Reads the task's files and tokenizes what it can, so that every error shows before the first cell; throws an Error
  /// with file and line.  `window` as in TaskInput.
  virtual void load(const Tokenizer& tokenizer, const LlamaConfig& llama, int64_t window) = 0;
  /// Returns the name of its metrics and its table.
  virtual const std::string& name() const = 0;
  /// Returns the hash of the contents of its files, once loaded.
  virtual std::string hash() const = 0;
  /// Returns what a reader of its values must know, one line each, once loaded.
  virtual std::vector<std::string> warnings() const { return {}; }
  /// Returns an estimate of the floating point operations of run(), once loaded.
  virtual double flops(const LlamaConfig& llama) const = 0;
  virtual TaskResult run(const TaskInput& input) const = 0;
};

/// Returns what decides greedy answers beside the weights and the prompt, for the hash of a task that decodes.  Rows of
/// when the last of `new_tokens` was left out run again.
inline std::string answers_hash(const LlamaConfig& llama) { return "whole answers" + llama.generation; }

/// Returns the key of the answer to a question in a PartStore.
std::string answer_part(const std::string& task, std::size_t question);

/// Returns the text that is decoded greedily after a prompt (with BOS first if `bos`), up to `most` tokens.  Ends
/// before the model's end of text, and as soon as `stop`, if there is one, returns true for the text so far.  An answer
/// already stored under `part` is not decoded again.
std::string greedy_answer(const TaskInput& input, const std::string& part, const std::vector<int32_t>& prompt, bool bos,
                          int64_t most, const std::function<bool(const std::string&)>& stop);

/// Throws an Error at the place of a task's `bos` when the model has no such token.
void check_has_bos(const Config& task, const LlamaConfig& llama);

/// Returns a text for a table cell: control characters become spaces.
std::string on_one_line(std::string text);

}  // namespace qroar
