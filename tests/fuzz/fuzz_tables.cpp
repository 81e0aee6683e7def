// Tables with any text in their cells, in every rendering: lines and columns stay what they are.
#include <algorithm>

#include "base/csv.h"
#include "fuzz.h"
#include "report/latex.h"
#include "report/table.h"

namespace qroar {
namespace {

/// Whether every brace in LaTeX text is closed, and no character that would end a cell, a line or the table is bare.
bool is_latex_text(const std::string& text) {
  int open = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{' || text[i] == '}') {
      open += text[i] == '{' ? 1 : -1;
      if (open < 0) return false;
    } else if (std::string_view("&%#").find(text[i]) != std::string_view::npos) {
      return false;
    }
  }
  return open == 0;
}

}  // namespace

void fuzz_one(std::string_view input) {
  const auto cells = parts_of(input, 4);
  const Table table{{cells[0], "loss"}, {{cells[1], "1.5"}, {cells[2], "2.5"}}, 1, cells[3]};
  for (const std::string& cell : cells) must(is_latex_text(latex_escaped(cell)), "LaTeX: " + latex_escaped(cell));
  latex_text({table}, "a note", cells[0]);
  const std::string csv = table.render("csv");
  must(std::ranges::count(csv, '\n') == 3, "three lines: " + csv);
  std::size_t breaks = 0;
  for (const std::string& cell : {cells[0], cells[1], cells[2]})
    breaks += static_cast<std::size_t>(std::ranges::count(cell, '\n'));
  for (const char* format : {"table", "markdown"}) {
    const std::string text = table.render(format);
    must(breaks > 0 || std::ranges::count(text, '\n') == 4, text);
  }
}

}  // namespace qroar
