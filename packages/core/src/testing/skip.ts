// What some tests need and not every machine has: a GPU's driver, a browser, a registry.

/**
 * Prints why tests of `name` are skipped. @throws Error with the reason where DARKROOM_REQUIRE (names with commas
 * between, as CI has it) names it
 */
export function skip(name: string, reason: string): true {
  if ((process.env['DARKROOM_REQUIRE'] ?? '').split(',').includes(name))
    throw new Error(`DARKROOM_REQUIRE=${name}: ${reason}`);
  console.warn(`skipped: ${reason}`);
  return true;
}
