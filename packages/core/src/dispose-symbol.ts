// Symbol.dispose for browsers that have WebGPU but not yet this symbol (Safari). Imported by every module of core that
// has a class with it: package.json names this file under sideEffects, so that bundlers keep it.

if (!Symbol.dispose) {
  // The registered symbol, which the helpers of compilers fall back to.
  Object.defineProperty(Symbol, 'dispose', { value: Symbol.for('Symbol.dispose') });
}
