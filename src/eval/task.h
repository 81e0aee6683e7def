// The interface of a task: questions with answers, beside windows of text.  Its table becomes
// cells/<id>/tasks/<name>.csv, its values the row's metrics <name>/<value>.
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
  int64_t window;                                  ///< windows.length: tokens that a prompt with its answer may have
  const std::function<void(double done)>& report;  ///< the part that is done, 0..1
  PartStore& parts;                                ///< under answer_part()
};

struct TaskResult {
  std::vector<MetricValue> values;
  CsvTable items;  ///< a line a question
};

class Task {
 public:
  static constexpr const char* kKind = "task";
  virtual ~Task() = default;

  /// Reads its files and tokenizes what can be, so that whatever is wrong shows before the first cell; throws an Error
  /// with file and line.  `window` as in TaskInput.
  virtual void load(const Tokenizer& tokenizer, const LlamaConfig& llama, int64_t window) = 0;
  /// What its metrics and its table are called.
  virtual const std::string& name() const = 0;
  /// Of the contents of its files, once loaded.
  virtual std::string hash() const = 0;
  /// Estimate of the floating point operations of run(), once loaded.
  virtual double flops(const LlamaConfig& llama) const = 0;
  virtual TaskResult run(const TaskInput& input) const = 0;
};

/// What a PartStore calls the answer to a question.
std::string answer_part(const std::string& task, std::size_t question);

/// The text that is decoded greedily behind a prompt (BOS first where `bos` says so), up to `most` tokens: ends before
/// the model's end of text, and where `stop`, if there is one, says so of what is there.  What is known of `part` is
/// not decoded again.
std::string greedy_answer(const TaskInput& input, const std::string& part, const std::vector<int32_t>& prompt, bool bos,
                          int64_t most, const std::function<bool(const std::string&)>& stop);

/// An Error at the place of a task's `bos` when the model has no such token.
void check_has_bos(const Config& task, const LlamaConfig& llama);

/// A text for a table: control characters become spaces.
std::string on_one_line(std::string text);

}  // namespace qroar
