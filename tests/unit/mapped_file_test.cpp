// Mapped files that other processes change.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/files.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/scratch.h"

using namespace qroar;

namespace {

/// Writes into the file that is there, as `cp` onto it does.
void overwrite(const std::filesystem::path& file, std::size_t place, char byte) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(place));
  stream.put(byte);
}

void set_times(const std::filesystem::path& file, const struct stat& of) {
  const timespec times[2] = {of.st_atim, of.st_mtim};
  REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("a mapped file's bytes and hash are the file's") {
  const Scratch scratch;
  const auto path = scratch.write("a", std::string(10'000, 'x') + "end");
  const MappedFile file(path);
  CHECK(file.bytes() == read_file(path));
  CHECK(file.hash() == hash_file(path));
  file.check_unchanged();
  CHECK(MappedFile(scratch.write("empty", "")).bytes().empty());
}

TEST_CASE("a byte that is written over is a change, even where the time of it is set back") {
  const Scratch scratch;
  const auto path = scratch.write("a", std::string(10'000, 'x'));
  const MappedFile file(path);
  file.hash();
  struct stat before = {};
  REQUIRE(::stat(path.c_str(), &before) == 0);
  overwrite(path, 5000, 'y');
  set_times(path, before);
  CHECK(contains(error_text([&] { file.check_unchanged(); }), "changed while it was read; run again"));
}

TEST_CASE("permissions, links and a new file under the name are no change") {
  const Scratch scratch;
  const auto path = scratch.write("a", std::string(10'000, 'x'));
  const MappedFile file(path);
  file.hash();
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  std::filesystem::create_hard_link(path, scratch.folder() / "b");
  file.check_unchanged();
  write_file_atomically(path, "another");
  file.check_unchanged();
  CHECK(file.bytes().size() == 10'000);
}

TEST_CASE("what is cut off reads as zeros and is a change, not a signal") {
  const Scratch scratch;
  const auto path = scratch.write("a", std::string(100'000, 'x'));
  const MappedFile file(path), other(scratch.write("b", std::string(100'000, 'y')));
  std::filesystem::resize_file(path, 5000);
  int64_t zeros = 0;
  for (const char byte : file.bytes()) zeros += byte == 0 ? 1 : 0;
  CHECK(zeros > 90'000);
  CHECK(contains(error_text([&] { file.check_unchanged(); }),
                 "changed while it was read; run again (a part of it could not be read: if nobody cut it off"));
  std::filesystem::resize_file(path, 100'000);
  CHECK(contains(error_text([&] { file.check_unchanged(); }), "could not be read"));
  other.check_unchanged();
  CHECK(other.bytes().back() == 'y');
}

TEST_CASE("folders and missing files cannot be mapped") {
  const Scratch scratch;
  CHECK(contains(error_text([&] { MappedFile{scratch.folder()}; }), "is not a regular file"));
  CHECK(contains(error_text([&] { MappedFile{scratch.folder() / "none"}; }), "none: cannot open: No such file"));
}
