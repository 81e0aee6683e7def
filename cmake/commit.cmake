# Writes commit.h with the git commit, only when it changed, so that a build without changes compiles nothing.
execute_process(COMMAND git describe --always --dirty --abbrev=12 --exclude=* WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#pragma once\n#define QROAR_COMMIT \"${commit}\"\n#define QROAR_VERSION \"${VERSION}\"\n")
