/** The version of the package; a test holds it to package.json, which is not at hand once built. */
export const VERSION = '0.1.0'
