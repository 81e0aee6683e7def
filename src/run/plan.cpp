// Makes cells from jobs: loads models, texts and questions, each once.
#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "run/cell.h"
#include "run/error_list.h"
#include "run/find_scales.h"
#include "run/open_models.h"
#include "run/overlap.h"
#include "search/dev_objective.h"

namespace qroar {
namespace {

/// Returns the parts of the evaluated documents that go through the model.
std::vector<TextPart> evaluated_parts(const std::vector<Document>& documents, const std::vector<Window>& windows) {
  std::map<int64_t, std::pair<int64_t, int64_t>> reaches;  // begin and end for each document
  for (const Window& window : windows) {
    auto& [begin, end] = reaches.try_emplace(window.document, window.begin, window.end).first->second;
    begin = std::min(begin, window.begin);
    end = std::max(end, window.end);
  }
  std::vector<TextPart> parts;
  for (const auto& [index, reach] : reaches) {
    const Document& document = documents[static_cast<std::size_t>(index)];
    const auto [begin, end] = reach;
    parts.push_back({document.id, std::span(document.tokens.begin() + begin, document.tokens.begin() + end)});
  }
  return parts;
}

/// Returns the texts that a search uses: one window per document and length, from the document's beginning.
std::vector<TextPart> dev_parts(const Dataset& dev, const SearchSpec& search) {
  const auto most = static_cast<std::size_t>(std::max(std::ranges::max(search.lengths), search.short_length));
  std::vector<TextPart> parts;
  for (const Document& document : dev.documents)
    parts.push_back({document.id, std::span(document.tokens).first(std::min(most, document.tokens.size()))});
  return parts;
}

std::vector<TextPart> calibration_parts(const CalibrationText& text) {
  std::vector<TextPart> parts;
  for (const auto& sample : text.samples) parts.push_back({"", sample});
  return parts;
}

class Planner {
 public:
  Cell cell_of(Job& job) {
    Cell cell{&job, nullptr, {}, nullptr, nullptr, nullptr, {}};
    if (!job.model.open_error.empty()) return cell;
    load_tasks(job);
    for (const auto& task : job.data.tasks) {
      for (const std::string& warning : task->warnings()) cell.warnings.push_back(task->name() + ": " + warning);
    }
    if (job.data.text) {
      cell.data = as_windows_read(job, load(job, *job.data.text, job.resolved["data"]));
      std::vector<int64_t> lengths;
      for (const Document& document : cell.data->documents) lengths.push_back(std::ssize(document.tokens));
      cell.windows = windows_of(lengths, job.data.windows);
      if (cell.windows.empty()) {
        fail(
            "{}: no document has a token to score in these windows: the longest has {}; change windows.length or "
            "windows.score, or give longer texts",
            job.data.text->path.string(), std::ranges::max(lengths));
      }
      for (const auto& metric : job.output.metrics) metric->check(cell.data->documents, cell.windows);
    }
    cell.calibration = drawn(job, job.method.quantization);
    if (const auto& search = job.method.search) {
      cell.dev = load(job, search->spec.data, job.resolved["rescale"]["search"]["data"]);
      check_dev_documents(search->spec, cell.dev->documents, dev_feed(job));
      cell.dev_calibration = drawn(job, job.search_quantization());
    }
    if (cell.data != nullptr) check_overlap(cell);
    return cell;
  }

 private:
  std::shared_ptr<const Dataset> load(const Job& job, const DataSpec& spec, const Json& resolved) {
    // The block names its path as written, which leads elsewhere from another file's folder.
    auto& data = loaded_[Json{spec.path.string(), resolved, job.model.spec.path.string()}.dump()];
    if (data == nullptr) data = std::make_shared<const Dataset>(choose_documents(corpus(job, spec), spec));
    return data;
  }

  /// Loads a corpus.  A file that cannot be read is not read again for the next job.
  const Dataset& corpus(const Job& job, const DataSpec& spec) {
    const std::pair key{spec.path.string(), job.model.spec.path.string()};
    if (const auto failure = unread_.find(key); failure != unread_.end()) throw Error(failure->second);
    const auto known = corpora_.find(key);
    if (known != corpora_.end()) return known->second;
    try {
      return corpora_.emplace(key, load_corpus(spec.path, job.model.spec.path, job.model.config)).first->second;
    } catch (const Error& error) {
      unread_.emplace(key, error.what());
      throw;
    }
  }

  std::shared_ptr<const Dataset> as_windows_read(const Job& job, const std::shared_ptr<const Dataset>& chosen) {
    const WindowRule& rule = job.data.windows;
    if (!rule.concatenate && rule.feed.bos != Bos::start && rule.feed.bos != Bos::replace) return chosen;
    auto& data = read_[{chosen.get(), rule.concatenate, rule.feed.bos}];
    if (data == nullptr)
      data = std::make_shared<const Dataset>(as_read_by(rule, *chosen, job.model.config.bos_token_id.value_or(0)));
    return data;
  }

  std::shared_ptr<const CalibrationText> drawn(const Job& job, const Quantization& quantization) {
    if (!quantization.calibration) return nullptr;
    const auto texts = load(job, quantization.calibration->data, quantization.key["calibration"]["data"]);
    return std::make_shared<const CalibrationText>(draw_samples(texts->documents, *quantization.calibration));
  }

  /// Loads the questions, which are tokenized once for all jobs that share them.
  void load_tasks(Job& job) {
    for (std::size_t i = 0; i < job.data.tasks.size(); ++i) {
      const Json key{job.resolved["tasks"][i], job.model.spec.path.string(), job.data.windows.length};
      auto& known = tasks_[key.dump()];
      if (known == nullptr) {
        job.data.tasks[i]->load(*job.model.opened.tokenizer, job.model.config, job.data.windows.length);
        known = job.data.tasks[i];
      }
      job.data.tasks[i] = known;
    }
  }

  /// Throws an Error when scales are searched on evaluated texts, since such a result would be meaningless; for
  /// calibration on evaluated texts only adds a warning to the row.
  void check_overlap(Cell& cell) {
    const Job& job = *cell.job;
    const auto& search = job.method.search;
    if (!search && cell.calibration == nullptr) return;
    const std::string windows = cell.data->hash + job.resolved["data"].dump() + job.resolved["windows"].dump();
    if (search) {
      const auto common = overlap(cell, windows + job.resolved["rescale"]["search"].dump(),
                                  [&] { return dev_parts(*cell.dev, search->spec); });
      if (common) {
        fail(
            "{}: document '{}' of rescale.search.data has {} tokens in common with '{}', which is evaluated, from "
            "token "
            "{} on; scales must be searched on other documents, set skip or documents in either block",
            search->spec.data.path.string(), common->second, kCommonTokens, common->first, common->place);
      }
    }
    if (cell.calibration == nullptr) return;
    const auto common =
        overlap(cell, windows + cell.calibration->hash, [&] { return calibration_parts(*cell.calibration); });
    if (common) {
      cell.warnings.push_back(fmt::format(
          "calibration texts ({}) have {} tokens in common with '{}', which is evaluated: quantizers have seen a part "
          "of the test",
          job.method.quantization.calibration->data.path.string(), kCommonTokens, common->first));
    }
  }

  /// Returns the overlap of the evaluated texts with `others`, computed once for all cells with the same `key`.
  template <class Parts>
  std::optional<CommonRun> overlap(const Cell& cell, const std::string& key, const Parts& others) {
    const auto [known, fresh] = overlaps_.try_emplace(cell.job->model.spec.path.string() + key);
    if (fresh) known->second = common_run(evaluated_parts(cell.data->documents, cell.windows), others());
    return known->second;
  }

  std::map<std::pair<std::string, std::string>, Dataset> corpora_;     ///< by file and model
  std::map<std::pair<std::string, std::string>, std::string> unread_;  ///< and the reason
  std::map<std::string, std::optional<CommonRun>> overlaps_;
  std::map<std::string, std::shared_ptr<const Dataset>> loaded_;
  std::map<std::tuple<const Dataset*, bool, Bos>, std::shared_ptr<const Dataset>> read_;
  std::map<std::string, std::shared_ptr<Task>> tasks_;
};

}  // namespace

std::vector<Cell> plan(std::vector<Job>& jobs) {
  open_models(jobs);
  Planner planner;
  ErrorList errors;
  std::vector<Cell> cells;
  for (Job& job : jobs) {
    try {
      cells.push_back(planner.cell_of(job));
      errors.count_success();
    } catch (const Error& error) {
      errors.add(error.what());
    }
  }
  errors.throw_if_any();
  return cells;
}

}  // namespace qroar
