# cmake -D VERSION=... -D SOURCE=... -D OUT=... -P version.cmake: makes OUT of
# version.cc.in with the version and the commit of the folder SOURCE, "unknown"
# if that isn't the top of a git repository. Leaves an OUT that says the same.
cmake_minimum_required(VERSION 3.25)

# A hook's variables are those of another repository.
foreach(variable GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE)
  unset(ENV{${variable}})
endforeach()

# git(RESULT argument...): what git prints, "" if it fails or isn't there.
function(git result)
  execute_process(COMMAND git -c safe.directory=* -C ${SOURCE} ${ARGN}
    OUTPUT_VARIABLE text OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

git(top rev-parse --show-toplevel)
file(REAL_PATH "${SOURCE}" source)
if(top STREQUAL source)
  git(COMMIT describe --always --dirty)
endif()
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/version.cc.in "${OUT}" @ONLY)
