// One include for Catch2 v2 (Debian 12) and v3.  Include ATen headers before this one: both define CHECK.
#pragma once
#ifdef CHECK
#undef CHECK
#endif
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
