// Numbers as text: against strtod and strtoll, and as CSV writes them.
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "base/csv.h"
#include "base/number.h"
#include "fuzz.h"
#include "report/table.h"
#include "results/results.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const std::string text(input);
  double number = 0;
  if (read_number(text, number) == std::errc()) {
    char* end = nullptr;
    const double other = std::strtod(text.c_str(), &end);
    must(end == text.c_str() + text.size() && (other == number || std::isnan(other)), text);
    must(text.find_first_of(" \t\n\r+") == text.npos || text.find("e+") != text.npos || text.find("E+") != text.npos,
         "white space or +: " + text);
    double again = 0;
    must(read_number(csv_number(number), again) == std::errc(), csv_number(number));
    must(std::isnan(number) || again == number || std::abs(again - number) <= 1e-8 * std::abs(number), text);
    for (const double reach : {0.0, 0.01, 1e300})
      must_be_one_line(with_interval(number, number - reach, number + reach));
  }
  int64_t integer = 0;
  const std::errc error = read_number(text, integer);
  if (error == std::errc()) {
    errno = 0;
    must(std::strtoll(text.c_str(), nullptr, 10) == integer && errno == 0, text);
  }
  must(error != std::errc::result_out_of_range || text.size() >= 19, "out of range: " + text);
  const Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_discarded()) axis_label(value);
}

}  // namespace qroar
