#pragma once

namespace timepipe {

// Whether an output is overwritten or added to.
enum class Write { kOverwrite, kAdd };

}  // namespace timepipe
