package main

// maxrssUnit is what getrusage(2) counts ru_maxrss in, in bytes.
const maxrssUnit = 1024
