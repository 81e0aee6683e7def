// Bands of RoPE pairs, and the text of a table.
#include "rope/bands.h"

#include "base/csv.h"
#include "base/error.h"
#include "support/catch.h"

using namespace qroar;

TEST_CASE("bands are neighbouring pairs, equally many up to one") {
  CHECK(band_edges(64, 4) == std::vector<int64_t>{0, 16, 32, 48, 64});
  CHECK(band_edges(32, 6) == std::vector<int64_t>{0, 5, 10, 16, 21, 26, 32});
  CHECK(band_edges(5, 1) == std::vector<int64_t>{0, 5});
  CHECK(band_edges(3, 3) == std::vector<int64_t>{0, 1, 2, 3});
  CHECK_THROWS_AS(band_edges(3, 4), InternalError);
}

TEST_CASE("a table is a header and rows, with fields quoted where they must be") {
  CHECK(CsvTable{{"a", "b"}, {{"1", ""}, {"x,y", "say \"so\""}}}.text() == "a,b\n1,\n\"x,y\",\"say \"\"so\"\"\"\n");
  CHECK_THROWS_AS((CsvTable{{"a", "b"}, {{"1"}}}.text()), InternalError);
}
