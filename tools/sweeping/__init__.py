"""Many runs of one grid."""
