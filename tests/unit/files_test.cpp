#include "base/files.h"

#include <sys/stat.h>

#include <cstdlib>
#include <optional>

#include "base/hash.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"
#include "support/size_limit.h"

using namespace qroar;

namespace {

/// Sets or unsets (no value) an environment variable for one scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    put(value);
  }
  ~Variable() { put(old_ ? old_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void put(const char* value) { value == nullptr ? unsetenv(name_) : setenv(name_, value, 1); }
  const char* name_;
  std::optional<std::string> old_;
};

std::size_t count_entries(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

}  // namespace

TEST_CASE("read_file returns every byte, line ends and zeros included") {
  const Scratch scratch;
  const std::string bytes("a\r\n\0b", 5);
  CHECK(read_file(scratch.write("f", bytes)) == bytes);
  CHECK(read_file(scratch.write("empty", "")).empty());
  const std::string large(3 * (1 << 20) + 17, 'x');  // more than one block
  CHECK(read_file(scratch.write("large", large)) == large);
}

TEST_CASE("read_file names the path and the reason") {
  const Scratch scratch;
  const std::string folder = scratch.folder().string();
  CHECK(error_text([&] { read_file(folder + "/none"); }) == folder + "/none: cannot open: No such file or directory");
  CHECK(error_text([&] { read_file(folder); }) == folder + ": cannot read: Is a directory");
}

TEST_CASE("write_file_atomically makes and replaces a file and leaves nothing else") {
  const Scratch scratch;
  const auto path = scratch.folder() / "row.json";
  write_file_atomically(path, "one");
  CHECK(read_file(path) == "one");
  write_file_atomically(path, "two and more");
  CHECK(read_file(path) == "two and more");
  CHECK(count_entries(scratch.folder()) == 1);
}

TEST_CASE("write_file_atomically gives files the usual rights, so that others can read results") {
  const Scratch scratch;
  const mode_t mask = umask(022);
  write_file_atomically(scratch.folder() / "row.json", "x");
  umask(mask);
  struct stat status {};
  REQUIRE(stat((scratch.folder() / "row.json").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0644);
}

TEST_CASE("write_file_atomically takes a name without a folder") {
  const Scratch scratch;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch.folder());
  write_file_atomically("plain.txt", "x");
  std::filesystem::current_path(before);
  CHECK(read_file(scratch.folder() / "plain.txt") == "x");
}

TEST_CASE("a failed write names the reason, keeps the old file and leaves no temporary one") {
  const Scratch scratch;
  const std::string folder = scratch.folder().string();
  SECTION("the disk is full") {
    const auto path = scratch.write("row.json", "old");
    std::string text;
    {
      const SizeLimit limit(4096);
      text = error_text([&] { write_file_atomically(path, std::string(100'000, 'x')); });
    }
    CHECK(text == folder + "/row.json: cannot write: File too large");
    CHECK(read_file(path) == "old");
    CHECK(count_entries(scratch.folder()) == 1);
  }
  SECTION("the target is a folder") {
    std::filesystem::create_directory(folder + "/row.json");
    CHECK(error_text([&] { write_file_atomically(folder + "/row.json", "x"); }) ==
          folder + "/row.json: cannot replace: Is a directory");
    CHECK(count_entries(scratch.folder()) == 1);
  }
  SECTION("the folder above is a file") {
    scratch.write("file", "");
    CHECK_THAT(error_text([&] { write_file_atomically(folder + "/file/row.json", "x"); }),
               Catch::Matchers::StartsWith(folder + "/file/.row.json.") &&
                   Catch::Matchers::EndsWith(".tmp: cannot create: Not a directory"));
  }
  SECTION("there is no folder") {
    CHECK_THAT(error_text([&] { write_file_atomically(folder + "/none/row.json", "x"); }),
               Catch::Matchers::EndsWith(".tmp: cannot create: No such file or directory"));
  }
}

TEST_CASE("write_file_atomically takes contents in parts, and what their maker throws leaves the old file") {
  const Scratch scratch;
  const auto path = scratch.write("row.json", "old");
  CHECK_THROWS_AS(write_file_atomically(path,
                                        [](const PutBytes& put) {
                                          put("new");
                                          throw std::runtime_error("no more");
                                        }),
                  std::runtime_error);
  CHECK(read_file(path) == "old");
  CHECK(count_entries(scratch.folder()) == 1);
  write_file_atomically(path, [](const PutBytes& put) {
    put("two ");
    put("parts");
  });
  CHECK(read_file(path) == "two parts");
}

TEST_CASE("write_folder_atomically makes a folder and those above it, and replaces an empty and a full one") {
  const Scratch scratch;
  const auto folder = scratch.folder() / "a/b";
  const auto write = [&](const char* name) {
    write_folder_atomically(folder, [&](const auto& filling) {
      CHECK(filling.parent_path() == folder.parent_path());
      write_file_atomically(filling / name, name);
    });
  };
  write("one");
  CHECK(read_file(folder / "one") == "one");
  write("two");
  CHECK(read_file(folder / "two") == "two");
  CHECK(count_entries(folder) == 1);
  std::filesystem::remove(folder / "two");
  write("three");
  CHECK(count_entries(folder) == 1);
  CHECK(count_entries(folder.parent_path()) == 1);
}

TEST_CASE("a folder that cannot be written stays as it was, with nothing beside it") {
  const Scratch scratch;
  const auto folder = scratch.folder() / "out";
  const auto fill = [](const auto& filling) {
    write_file_atomically(filling / "small", "new");
    write_file_atomically(filling / "large", std::string(100'000, 'x'));
  };
  SECTION("the disk is full") {
    scratch.write("out/small", "old");
    const SizeLimit limit(4096);
    CHECK_THAT(error_text([&] { write_folder_atomically(folder, fill); }),
               Catch::Matchers::StartsWith(scratch.folder().string() + "/.out.") &&
                   Catch::Matchers::EndsWith(".tmp/large: cannot write: File too large"));
    CHECK(read_file(folder / "small") == "old");
    CHECK(count_entries(folder) == 1);
  }
  SECTION("the target is a file") {
    scratch.write("out", "old");
    CHECK(error_text([&] { write_folder_atomically(folder, fill); }) ==
          folder.string() + ": cannot replace: Not a directory");
    CHECK(read_file(folder) == "old");
  }
  CHECK(count_entries(scratch.folder()) == 1);
}

TEST_CASE("a folder that nobody may write into is an error") {
  // /proc stops root, too.
  CHECK_THAT(error_text([] { write_folder_atomically("/proc/out", [](const auto&) {}); }),
             Catch::Matchers::StartsWith("/proc/.out.") && Catch::Matchers::Contains(".tmp: cannot create: "));
}

TEST_CASE("hashes are those of xxh128sum") {
  // Printed by `xxh128sum` 0.8.1.
  CHECK(hash_bytes("") == "99aa06d3014798d86001c324468d497f");
  CHECK(hash_bytes("abc") == "06b05ab6733a618578af5f94892f3950");
}

TEST_CASE("a file hashes like its bytes") {
  const Scratch scratch;
  const std::string large(2 * (1 << 20) + 5, 'q');
  CHECK(hash_file(scratch.write("large", large)) == hash_bytes(large));
  CHECK(hash_file(scratch.write("empty", "")) == hash_bytes(""));
  CHECK(hash_bytes(large) != hash_bytes(large + "q"));
  const std::string none = (scratch.folder() / "none").string();
  CHECK(error_text([&] { hash_file(none); }) == none + ": cannot open: No such file or directory");
}

TEST_CASE("the cache lies where the environment says") {
  const Variable home("HOME", "/home/u");
  const Variable user("XDG_CACHE_HOME", nullptr);
  const Variable own("QROAR_CACHE", nullptr);
  CHECK(cache_folder() == "/home/u/.cache/qroar");
  {
    const Variable set("XDG_CACHE_HOME", "/var/x");
    CHECK(cache_folder() == "/var/x/qroar");
    const Variable set_own("QROAR_CACHE", "/fast/cache");
    CHECK(cache_folder() == "/fast/cache");
  }
  const Variable empty("HOME", "");
  CHECK(error_text([] { cache_folder(); }) ==
        "no folder for the cache: none of QROAR_CACHE, XDG_CACHE_HOME and HOME is set; set QROAR_CACHE");
}
