// What every registered diagnostic must do, whichever it is.
#include <ATen/ATen.h>

#include "support/catch.h"
#include "support/diagnostic.h"

namespace qroar {
namespace {

const char* const kRules =
    "[{match: 'layers.*', weight: {type: rtn, bits: 4, group: 32}, input: {type: rtn, bits: 8, group: 0}}]";

/// Everything that the evaluation of the cell computes: all losses of a window, of both models.
std::vector<at::Tensor> losses(const DiagnosedCell& cell) {
  std::vector<at::Tensor> found;
  for (const Llama* model : {&cell.full, &cell.model}) {
    for (const Window& window : cell.windows) {
      const at::Tensor tokens_T = cell.input().tokens_T(window);
      const at::Tensor logits_TV = logits(*model, forward(*model, tokens_T, cell.angles_of(tokens_T.size(0))));
      found.push_back(ops::token_nll(logits_TV, tokens_T));
    }
  }
  return found;
}

}  // namespace

TEST_CASE("diagnostics are registered") { REQUIRE(!Registry<Diagnostic>::instance().entries().empty()); }

TEST_CASE("a diagnostic builds from its example, gives a whole table, the same one twice, and changes no loss") {
  for (const auto& [name, entry] : Registry<Diagnostic>::instance().entries()) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      INFO(name << " " << at::toString(dtype));
      const DiagnosedCell cell(kRules, dtype);
      const auto before = losses(cell);
      const CsvTable table = diagnose(cell, entry.example);
      REQUIRE_FALSE(table.rows.empty());
      for (const auto& row : table.rows) REQUIRE(row.size() == table.columns.size());
      REQUIRE(diagnose(cell, entry.example).text() == table.text());
      const auto after = losses(cell);
      for (std::size_t i = 0; i < before.size(); ++i) REQUIRE(at::equal(before[i], after[i]));
    }
  }
}

TEST_CASE("a diagnostic counts the windows that it looks at, and each at least as often as it does") {
  for (const auto& [name, entry] : Registry<Diagnostic>::instance().entries()) {
    INFO(name);
    const DiagnosedCell cell(kRules);
    const auto diagnostic = Registry<Diagnostic>::instance().build(Config::parse(entry.example, "test.yaml"));
    int64_t looks = 0;
    const std::function<void()> on_window = [&] { ++looks; };
    diagnostic->run(cell.input(on_window));
    const DiagnosticWork work = diagnostic->work();
    const auto windows = static_cast<double>(std::min(work.windows, std::ssize(cell.windows)));
    REQUIRE((work.windows == 0) == (looks == 0));
    REQUIRE(windows * work.forwards >= static_cast<double>(looks));
  }
}

TEST_CASE("a diagnostic keeps its table finite or says inf, and never nan") {
  for (const auto& [name, entry] : Registry<Diagnostic>::instance().entries()) {
    for (const char* rules : {"[]", kRules}) {
      INFO(name << " " << rules);
      REQUIRE(diagnose(DiagnosedCell(rules), entry.example).text().find("nan") == std::string::npos);
    }
  }
}

}  // namespace qroar
