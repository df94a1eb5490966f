#pragma once

namespace timepipe {

// What this program was built of: "timepipe 0.3.0 (commit 1a2b3c4)";
// "1a2b3c4-dirty" with changes that aren't committed, "unknown" without git.
const char* version_text();

}  // namespace timepipe
