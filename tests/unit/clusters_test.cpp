// clusters.csv and the links from a mean over clusters to a metric's value.
#include "results/clusters.h"

#include <cmath>

#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

namespace qroar {

TEST_CASE("clusters are read back as they were written, to the last bit, all or those of one metric") {
  const Scratch scratch;
  const std::vector<ClusterRecord> written{{"nll", "a, \"b\"", "0123456789abcdef", 0.1 + 0.2, 1.0 / 3},
                                           {"nll", "c", "fedcba9876543210", -1e-300, 4096},
                                           {"nll_last_16", "c", "0000000000000000", 5, 2}};
  const auto file = scratch.write("clusters.csv", clusters_csv(written));
  const auto all = read_clusters(file);
  REQUIRE(all.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(all[i].metric == written[i].metric);
    CHECK(all[i].group == written[i].group);
    CHECK(all[i].scored == written[i].scored);
    CHECK(all[i].sum == written[i].sum);
    CHECK(all[i].weight == written[i].weight);
  }
}

TEST_CASE("a line of clusters.csv that this program does not write is an error with its place") {
  const Scratch scratch;
  const auto error = [&](const std::string& text) {
    const auto file = scratch.write("c.csv", text);
    return error_text([&] { read_clusters(file); });
  };
  const std::string head = "metric,group,scored,sum,weight\n";
  CHECK(error(head) == "(no error)");
  CHECK(contains(error("metric,group,sum,weight\n"),
                 "c.csv:1: no line of this program's; delete the cell and run again"));
  CHECK(contains(error(head + "nll,a,0,1,2\nnll,b,0,1\n"), "c.csv:3: no line of this program's"));
  CHECK(contains(error(head + "nll,a,0,1,2,3\n"), "c.csv:2: no line of this program's"));
  CHECK(contains(error(head + "nll,\"a,0\",1,2\n"), "c.csv:2: no line of this program's"));
  CHECK(contains(error(head + "\n"), "c.csv:2: no line of this program's"));
  CHECK(contains(error(head + "nll,a,0,x,2\n"), "c.csv:2: sum is no number but 'x'"));
  CHECK(contains(error(head + "nll,a,0,inf,2\n"), "c.csv:2: sum is no number but 'inf'"));
  CHECK(contains(error(head + "nll,a,0,1,\n"), "c.csv:2: weight is no number but ''"));
  CHECK(contains(error(head + "nll,a,0,1,0\n"), "c.csv:2: the weight 0 is not positive"));
  CHECK(contains(error_text([&] { read_clusters(scratch.folder() / "none.csv"); }),
                 "none.csv: no such file: the cell was run before"));
}

TEST_CASE("links lead from the mean to the metric, and keep an interval's order") {
  CHECK(linked("", -0.5) == -0.5);
  CHECK(linked("exp", 2) == std::exp(2.0));
  CHECK(linked("pow 2.71828", 2) == std::pow(2.71828, 2));
  CHECK(linked("sqrt", 0.25) == 0.5);
  CHECK(linked("sqrt", -0.1) == 0);
  for (const char* link : {"", "exp", "pow 2.71828", "sqrt"}) {
    CHECK(std::isnan(linked(link, std::nan(""))));  // of an interval that is not there
    CHECK(linked(link, 0.2) < linked(link, 0.3));
  }
}

}  // namespace qroar
