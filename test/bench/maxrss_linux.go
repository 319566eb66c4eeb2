package main

// maxrssUnit is the unit of ru_maxrss in getrusage(2), in bytes.
const maxrssUnit = 1024
