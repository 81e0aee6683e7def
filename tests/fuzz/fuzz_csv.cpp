// Fields, cut at the byte 0x01, as one line of a table and read again.
#include <algorithm>

#include "base/csv.h"
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  auto fields =
      parts_of(input, 1 + std::min<std::size_t>(6, static_cast<std::size_t>(std::ranges::count(input, '\x01'))));
  CsvTable table{fields, {fields, fields}};
  const std::string text = table.text(), line = text.substr(0, text.find('\n'));
  must(std::ranges::count(text, '\n') == 3, "three lines");
  for (std::string& field : fields)
    std::ranges::replace_if(
        field, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  must(csv_fields(line) == fields, "the same fields");
  csv_fields(std::string(input));
}

}  // namespace qroar
