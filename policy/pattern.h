/* pattern.h - the one glob syntax of policies and flags: no_split, preload, groups.
 *
 * A pattern speaks of modules, and of tensors, by their dotted names:
 *     *    any characters, dots too, or none: "*.mlp" is the mlp of every block
 *     ?    one character, but no dot: "h.?" is h.0 to h.9
 * Everything else stands for itself; upper and lower case differ. The whole name has to match.
 *
 * What a pattern matches it matches with everything below it, and the outermost match counts: of
 * "model.layers.3.mlp.up.weight", "model.layers.*" finds the module model.layers.3, not its mlp.
 */
#ifndef BERTH_POLICY_PATTERN_H
#define BERTH_POLICY_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* Does a pattern match a whole name?
 *
 * pattern  terminated
 * name     name_bytes of it; need not be terminated
 * returns  true or false; takes O(pattern * name) at worst
 */
bool pattern_match(const char *pattern, const char *name, size_t name_bytes);

/* Find the outermost module that holds a name and matches a pattern.
 *
 * name     a tensor or a module
 * returns  how many bytes of name are that module's: a prefix that ends before a dot, or all of
 *          name; 0 where none matches
 */
size_t pattern_find_module(const char *pattern, const char *name);

#endif
