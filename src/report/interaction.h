// The interaction of two axes, the difference of differences: what a quantizer costs under a scheme beyond what it
// costs without (docs/method.md 5.7).
#pragma once
#include <string>
#include <vector>

#include "report/effects.h"

namespace qroar {

/// Returns the table, or in the format json a list of objects, of `axes`: "AXIS,AXIS", each also AXIS=LABEL for the
/// level that others are compared with, by default the first.  One line for each pair of other levels, each metric, and
/// every level of the remaining axes; for loss by position also one for each part of the window.  Throws an Error for
/// an axis that is not there or has one level.  left_out: a line on rows that are not shown, for people; may be empty.
/// name: see latex_text().
std::string show_interaction(Effects& effects, const std::vector<Json>& rows, const std::string& axes,
                             const std::string& format, const std::string& left_out, const std::string& name);

}  // namespace qroar
