// Documents as windows read them.
#include "data/dataset.h"
#include "data/windows.h"
#include "support/catch.h"

namespace qroar {
namespace {

using Tokens = std::vector<int32_t>;

Dataset two_documents() { return {{{"a", Tokens{4, 5}, 2, 9, "x"}, {"b", Tokens{6}, 1, 4, "x"}}, "hash"}; }

WindowRule rule_of(const std::string& yaml) { return WindowRule(Config::parse(yaml, "w.yaml")); }

TEST_CASE("joined documents have the words and bytes of all, or none where one's are unknown") {
  const WindowRule joins = rule_of("{length: 8, bos: false, concatenate: true}");
  const Document all = as_read_by(joins, two_documents(), 1).documents.at(0);
  CHECK(all.tokens == Tokens{4, 5, 6});
  CHECK((all.words == 3 && all.bytes == 13));
  for (const std::size_t unknown : {0, 1}) {
    Dataset data = two_documents();
    data.documents[unknown].words = data.documents[unknown].bytes = 0;
    const Document half = as_read_by(joins, data, 1).documents.at(0);
    CHECK((half.words == 0 && half.bytes == 0));
  }
}

TEST_CASE("a document has a BOS of its own where windows begin with it or replace a token by it") {
  for (const char* bos : {"start", "replace"}) {
    const Dataset data = as_read_by(rule_of(fmt::format("{{length: 8, bos: {}}}", bos)), two_documents(), 1);
    CHECK((data.documents[0].tokens == Tokens{1, 4, 5} && data.documents[1].tokens == Tokens{1, 6}));
  }
  const Dataset plain = as_read_by(rule_of("{length: 8, bos: true}"), two_documents(), 1);  // windows add theirs
  CHECK(plain.documents[0].tokens == Tokens{4, 5});
  const Dataset joined = as_read_by(rule_of("{length: 8, bos: start, concatenate: true}"), two_documents(), 1);
  CHECK(joined.documents.at(0).tokens == Tokens{1, 4, 5, 6});  // one for all
}

}  // namespace
}  // namespace qroar
