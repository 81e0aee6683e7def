#include "config/registry.h"

#include "support/catch.h"
#include "support/errors.h"

using namespace qroar;

namespace {

struct Shape {
  static constexpr const char* kKind = "shape";
  virtual ~Shape() = default;
  virtual double area() const = 0;
};

class Square : public Shape {
 public:
  explicit Square(const Config& config) : side_(config.get<double>("side", 1.0, {.low = 0.0})) {}
  double area() const override { return side_ * side_; }

 private:
  double side_;
};

class Empty : public Shape {
 public:
  explicit Empty(const Config&) {}
  double area() const override { return 0; }
};

const Register<Shape, Square> kSquare{"square", "four equal sides", "{type: square, side: 2}"};
const Register<Shape, Empty> kEmpty{"none", "no shape", "{type: none}"};

std::unique_ptr<Shape> build(const std::string& text) {
  return Registry<Shape>::instance().build(Config::parse(text, "s.yaml"));
}

}  // namespace

TEST_CASE("a registered plugin is built from its config") {
  CHECK(build("{type: square, side: 3}")->area() == 9.0);
  CHECK(build("{type: none}")->area() == 0.0);
}

TEST_CASE("every example of a registry builds and reads all its keys") {
  const auto& entries = Registry<Shape>::instance().entries();
  REQUIRE(entries.size() == 2);
  for (const auto& [name, entry] : entries) {
    const Config config = Config::parse(entry.example, name);
    CHECK(Registry<Shape>::instance().build(config) != nullptr);
    CHECK_NOTHROW(check_all_read(config));
  }
}

TEST_CASE("an unknown type lists the known ones and the nearest") {
  CHECK(error_text([] { build("{type: sqaure}"); }) ==
        "s.yaml:1:8: type: unknown 'sqaure'; did you mean 'square'? known: none, square");
  CHECK(error_text([] { build("{type: hexagon}"); }) == "s.yaml:1:8: type: unknown 'hexagon'; known: none, square");
  CHECK(error_text([] { build("{}"); }) == "s.yaml:1:1: type: missing; known: none, square");
  CHECK(error_text([] { build("{type: [square]}"); }) == "s.yaml:1:8: type: expected a text, found a list");
}

TEST_CASE("a key of another plugin is unread") {
  const Config config = Config::parse("{type: none, side: 3}", "s.yaml");
  Registry<Shape>::instance().build(config);
  CHECK(error_text([&] { check_all_read(config); }) == "s.yaml:1:14: side: unknown key; known keys: type");
}

TEST_CASE("two plugins of one name are our own error") {
  Registry<Shape> registry;
  registry.add("a", {"", "", nullptr});
  CHECK_THROWS_AS(registry.add("a", {"", "", nullptr}), InternalError);
}
